"""What a data set says of itself, in its own archive. It tells nothing of when and where: the same request, the same bytes."""

from app.datasets.records import Job
from app.datasets.spec import Contents
from models.manifest import Manifest

READ = {
    "imagefolder": 'datasets.load_dataset("imagefolder", data_files={"train": "train-*.zip"})',
    "webdataset": 'webdataset.WebDataset("train-00000-of-00001.tar").decode("pil").to_tuple("png", "cls")',
    "parquet": 'datasets.load_dataset("parquet", data_files={"train": "train-*.parquet"})',
    "idx": "any reader of MNIST's files",
    "npz": 'numpy.load("train-00000-of-00001.npz")["images"]',
}


def datasheet(job: Job, manifest: Manifest, plan: Contents) -> str:
    """README.md (Gebru et al. 2018, https://arxiv.org/abs/1803.09010, as far as it applies to pictures that nobody took)."""
    spec, output = job.spec, manifest.output
    counts = "\n".join(
        f"| {i} | {name} | {count:,} |" for i, (name, count) in enumerate(zip(spec.label_names, spec.counts, strict=False))
    )
    labels = f"\n## Labels\n\n| index | name | pictures |\n|---|---|---|\n{counts}\n" if counts else ""
    splits = ", ".join(f"{size:,} {name}" for name, size in plan.sizes.items())
    metrics = "\n".join(
        f"| `{name}` | {metric.value:.4g} | {'' if metric.floor is None else f'{metric.floor:.4g}'} | {metric.protocol} |"
        for name, metric in manifest.metrics.items()
    )
    of_seeds = f"Picture i has seed {spec.seed} + i"
    if limits := spec.filter.as_json():
        of_seeds = f"Filtered ({', '.join(f'{k} {v}' for k, v in limits.items())}). Each picture has its own seed"
    return f"""# {spec.total:,} synthetic pictures of {manifest.name}@{manifest.version}

Every picture here was made by a generative adversarial network; none is a photograph or a scan of anything.

- {output.width}x{output.height} px, {output.channels} channel(s), format `{spec.format}`: {splits}.
- {of_seeds} and truncation {spec.truncation}: the model draws it again, bit for bit, when asked.
- To read it: `{READ[spec.format]}`.
{labels}
## Where it comes from

- Model `{manifest.name}`, version {manifest.version}, licence: {manifest.licence}.
  SHA-256 of its weights: `{manifest.weights.sha256}`.
- The model was trained on {manifest.data.name} ({manifest.data.items:,} pictures; {manifest.data.source}), whose licence is:
  {manifest.data.licence}. What that data lacks, or is wrong about, is lacking or wrong here.

## What is known of the model

| metric | value | real pictures | protocol |
|---|---|---|---|
{metrics}
"""
