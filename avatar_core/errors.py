"""The project's exceptions: each message names what is wrong, where, and what to do about it."""


class AvatarError(Exception):
    """Base of every error that a user can cause or cure."""


class CatalogError(AvatarError):
    """A file that cannot be read as a catalog at all (one bad row is a rejection, not this)."""


class ConfigError(AvatarError):
    """A preset or option that does not validate."""


class ArtifactError(AvatarError):
    """A stored artifact that is missing, truncated or altered."""


class StorageError(ArtifactError, OSError):
    """A library's place that cannot be reached, does not exist or refuses access.

    It is an OSError too, so that whatever handles the errors of a disk handles those of an object store.
    """


class ManifestError(AvatarError):
    """A manifest that cannot be read or written."""


class WeightsError(AvatarError):
    """Model weights that are missing or do not fit the model."""


class BodyError(AvatarError):
    """A body model or body parameters that cannot be used."""


class DivergenceError(AvatarError):
    """An optimisation whose numbers are not finite, or whose loss explodes."""


class Interrupted(BaseException):
    """A stage that was asked to stop and kept what it had done; no failure, hence no Exception."""
