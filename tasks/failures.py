"""What a failure says: to the manifest, and to the person who reads the screen."""

from dataclasses import dataclass, replace

from avatar_core.errors import (
    ArtifactError,
    AvatarError,
    BodyError,
    CatalogError,
    ConfigError,
    DivergenceError,
    ManifestError,
    WeightsError,
)

_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (DivergenceError, "Give the row another seed, or use a preset with a lower learning rate."),
    (WeightsError, "Run `avatars doctor`; it says which weights are missing and how to get them."),
    (ConfigError, "Correct the setting that the message names."),
    (BodyError, "Use another shape prompt or another body."),
    (CatalogError, "Correct the catalog."),
    (ManifestError, "Check that the library can be read and written."),
    (ArtifactError, "Run the same command again; what is damaged or missing is computed again."),
    (MemoryError, "Close other programs, or use a smaller preset such as --preset draft."),
    (OSError, "Check free disk space and permissions of the library, then run the same command again."),
)
_UNEXPECTED = "This is a defect of the program: the log of the run has the details. Running again may help."


@dataclass(frozen=True)
class Failure:
    """Why a stage has no result."""

    stage: str
    kind: str
    """Class name of the error."""
    message: str
    remedy: str
    skipped: bool = False
    """Whether the stage was not even tried, for want of an input."""

    @classmethod
    def of(cls, stage: str, error: BaseException) -> "Failure":
        """Describe an error that ended `stage`."""
        message = str(error).strip() or type(error).__name__
        return cls(stage, type(error).__name__, message, remedy(error))

    def shared(self, tried_for: str) -> "Failure":
        """Return the same failure for an avatar that shares the stage with the one that it was `tried_for`."""
        return replace(self, message=f"Tried for {tried_for}, which shares it: {self.message}")

    def downstream(self, stage: str) -> "Failure":
        """Return the failure of `stage` for want of this one's result."""
        return Failure(stage, self.kind, f"It needs {self.stage}, which failed.", self.remedy, skipped=True)


def remedy(error: BaseException) -> str:
    """Return what a user can do about `error`, or about the trouble of the disk that is behind it."""
    if isinstance(error, ArtifactError | ManifestError) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    for kind, text in _REMEDIES:
        if isinstance(error, kind):
            return text
    if type(error).__name__ == "OutOfMemoryError":
        return "Close other programs that use the GPU, or use --device cpu."
    return _UNEXPECTED if not isinstance(error, AvatarError) else "See the message."
