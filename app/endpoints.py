"""Which endpoint serves which task: one table for `wrong-task` replies and for the `endpoints` of a model."""

from models.tasks import Task

FROM_LATENTS = ("POST /v1/interpolate", "POST /v1/arithmetic", "GET /v1/images/{model}/{seed}.{extension}")

ENDPOINTS: dict[Task, tuple[str, ...]] = {
    Task.UNCONDITIONAL: ("POST /v1/sample", *FROM_LATENTS),
    Task.TRANSLATION: ("POST /v1/translate",),
    Task.SUPER_RESOLUTION: ("POST /v1/upscale",),
    Task.CONDITIONAL: ("POST /v1/generate", *FROM_LATENTS),
}


def endpoints_of(task: Task) -> tuple[str, ...]:
    """The endpoints that serve a task, each as "METHOD /path"; the one that the task is for comes first."""
    return ENDPOINTS.get(task, ())
