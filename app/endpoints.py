"""Which endpoint serves which model: one table for `wrong-task` replies and for the `endpoints` of a model."""

from collections.abc import Collection

from models.tasks import Task

FROM_LATENTS = (
    "POST /v1/interpolate",
    "POST /v1/arithmetic",
    "GET /v1/images/{model}/{seed}.{extension}",
    "POST /v1/inpaint",
    "POST /v1/project",
)
# what an entry can do because it holds more than its generator
OF_PARTS = {"discriminator": "POST /v1/discriminate", "classifier": "POST /v1/classify"}

ENDPOINTS: dict[Task, tuple[str, ...]] = {
    Task.UNCONDITIONAL: ("POST /v1/sample", *FROM_LATENTS),
    Task.CODES: ("POST /v1/sample", *FROM_LATENTS),
    Task.CONDITIONAL: ("POST /v1/generate", *FROM_LATENTS),
    Task.TRANSLATION: ("POST /v1/translate",),
    Task.SUPER_RESOLUTION: ("POST /v1/upscale",),
    Task.INPAINTING: ("POST /v1/inpaint",),
}


def endpoints_of(task: Task, parts: Collection[str] = ()) -> tuple[str, ...]:
    """The endpoints that serve a task, each as "METHOD /path"; the one that the task is for comes first.

    `parts`: what an entry holds beside its generator.
    """
    return *ENDPOINTS.get(task, ()), *(endpoint for part, endpoint in OF_PARTS.items() if part in parts)
