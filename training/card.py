"""The model card of a zoo entry, written from what was measured (Mitchell et al. 2019, https://arxiv.org/abs/1810.03993)."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.checkpoint import CARD_FILE, MANIFEST_FILE, read_manifest
from models.families import family_named
from models.manifest import FORMAT_VERSION, Manifest, Metric
from training.config import ConfigError, TrainConfig
from training.run_dir import replace_file


def write_card(manifest: Manifest, config: TrainConfig, skipped: Sequence[str]) -> str:
    """CARD.md: what the model draws, from which data, how it was trained, what was measured, and what it can't do."""
    training, data, output = manifest.training, manifest.data, manifest.output
    hours = training.seconds / 3600
    left_out = f", {len(skipped)} broken ones skipped" if skipped else ""
    labels = f"\n\nLabels: {', '.join(manifest.labels)}." if manifest.labels else ""
    if manifest.codes:
        told = (f"`{code.name}` ({', '.join(code.values) or 'from -1 to 1'})" for code in manifest.codes)
        labels += f"\n\nCodes: {'; '.join(told)}."
    amended = "".join(map(told_of, training.amendments))
    origin, began = "", training.start
    while began:
        origin += (
            f"\n- Started from the networks of `{began['name']}`, which had seen {began['images_seen']:,} pictures in "
            f"{began['seconds'] / 3600:.2f} hours; its config is in the manifest."
        )
        began = began["start"]
    taken, shown = "a picture", "pictures that it never saw"
    if "z_dim" in manifest.hparams:
        taken, shown = f"z of {manifest.hparams['z_dim']} numbers", "pictures of seeds 0, 1, 2, …"
    return f"""# {manifest.name}, version {manifest.version}

{config.description or "No description was given."}{labels}

![samples](samples.png)

## Data

{data.name}: {data.items:,} training pictures{left_out}. Source: {data.source}.
Licence of the data: {data.licence}. Licence of the weights: {manifest.licence}.
SHA-256 of the decoded training split: `{data.sha256}`.

## Recipe

- Family `{manifest.family}` ({family_named(manifest.family).paper}): {manifest.weights.parameters:,} parameters,
  {taken} → {output.width}x{output.height} px, {output.channels} channel(s).
- {training.images_seen:,} real pictures seen in {hours:.2f} hours on {training.hardware}; torch {training.torch},
  code {training.commit or "outside a checkout"}.{origin}{amended}
- The published weights are the moving average of the generator's.

```json
{json.dumps(training.config, indent=1)}
```

## Metrics

Measured by `python -m training evaluate {manifest.name}@{manifest.version}` on {shown}, 8-bit, as the
service sends them. "Real pictures" is the same measurement with real pictures in the place of generated ones.

{metrics_table(manifest.metrics)}

## Limits

{config.limits or "Draws only what its training data hold, with their biases."}
"""


def rewrite_metrics(entry: Path, measured: Mapping[str, Metric]) -> None:
    """Puts newer numbers into a published entry's manifest and card, beside those that were not measured again.

    The weights, and so its pictures and its version, stay what they are. Raises `ConfigError` where the card was changed by
    hand.
    """
    manifest = read_manifest(entry)
    card_file = entry / CARD_FILE
    newer = manifest.model_copy(update={"format_version": FORMAT_VERSION, "metrics": {**manifest.metrics, **measured}})
    card, old, new = card_file.read_text(), metrics_table(manifest.metrics), metrics_table(newer.metrics)
    if new not in card:  # where it is, this was stopped between the two files
        if old not in card:
            raise ConfigError(f"{card_file}: its table of metrics is not the one that was written; correct it by hand")
        replace_file(card_file, card.replace(old, new).encode())
    replace_file(entry / MANIFEST_FILE, (newer.model_dump_json(indent=2) + "\n").encode())


def told_of(amendment: Mapping[str, Any]) -> str:
    """A change to the config on the way, as a point of a list; why, if it was the doctor's."""
    told = f"\n- After {amendment['images_seen']:,} images the config was changed: {json.dumps(amendment['changed'])}"
    if "because" in amendment:
        told += f"; the run had gone on to {amendment['from']:,} images, and came back because of: {amendment['because']}"
    return told


def metrics_table(metrics: Mapping[str, Metric]) -> str:
    """Metrics as a Markdown table."""
    rows = ["| metric | value | ± | real pictures | N | protocol |", "|---|---|---|---|---|---|"]
    for name, metric in metrics.items():
        spread = "" if metric.spread is None else f"{metric.spread:.4g}"
        floor = "" if metric.floor is None else f"{metric.floor:.4g}"
        rows.append(f"| `{name}` | {metric.value:.4g} | {spread} | {floor} | {metric.n:,} | {metric.protocol} |")
    return "\n".join(rows)
