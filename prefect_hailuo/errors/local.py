"""What is wrong, or not allowed, on this side."""

from __future__ import annotations

from prefect_hailuo.errors.base import HailuoError


class ConfigurationError(HailuoError):
    """Something on this side needs setting right; nothing was sent."""


class ConcurrencyLimitError(HailuoError):
    """Nobody can say whether the account's concurrency limit leaves room; nothing was bought."""

    default_cure = (
        "Check PREFECT_API_URL, and that the server is there, and run again; or take the setting "
        "PREFECT_INTEGRATIONS_HAILUO_CONCURRENCY_LIMIT away."
    )
    default_retryable = True


class MissingKeyError(ConfigurationError):
    """No API key was given."""

    default_cure = (
        "Set the FAL_KEY environment variable (or FAL_KEY_ID with FAL_KEY_SECRET) to a key from "
        "https://fal.ai/dashboard/keys, or pass a FalCredentials block; to try everything at no "
        "cost, use the emulator (--emulator, or FalEmulator)."
    )


class InsecureHostError(ConfigurationError):
    """A host that must not be given the API key."""

    default_cure = (
        "Use an https:// address; plain http:// is allowed to this machine's loopback only."
    )


class UnknownEndpointError(ConfigurationError, ValueError):
    """No endpoint is called that."""

    default_cure = "List the models with: prefect-hailuo models"


class OtherAccountError(ConfigurationError):
    """Another account is making this video; only its own key can follow the request."""

    default_cure = (
        "Use that account's credentials, wait until the video is stored (it then serves every "
        "account), or pass another take. If it is the same account with a new key, give the "
        "credentials its label: FalCredentials(account=...). Nothing was bought now."
    )


class MissingExtraError(ConfigurationError):
    """An optional dependency is not installed."""

    default_cure = "Install it with: pip install 'prefect-hailuo[media]'"


class ImageError(ConfigurationError):
    """A picture cannot be had, or is none that the models take; nothing was bought."""

    default_cure = (
        "Pass a JPEG, PNG or WebP under 20 MB, with its shorter side over 300 pixels and its sides "
        "between 2:5 and 5:2."
    )


class LedgerError(HailuoError):
    """The ledger cannot be used, and without it nothing is bought."""

    default_cure = (
        "Make it reachable and writable, or name another with the setting "
        "PREFECT_INTEGRATIONS_HAILUO_LEDGER_URL. Nothing was bought now; run again after that."
    )


class BudgetError(HailuoError):
    """The scope's budget does not allow the purchase; nothing was bought."""

    default_cure = (
        "Raise the limit (Budget(scope=..., ...).apply()), or wait for the next period; "
        "prefect-hailuo spend shows what it went on."
    )


class NotApprovedError(HailuoError):
    """No person approved the cost; nothing was bought."""

    default_cure = (
        "Run it again, and choose to buy in Prefect's UI; or approve beforehand: pass a "
        "higher approve_above_usd, or --yes to a flow's command."
    )


class RunCancelledError(HailuoError):
    """The flow run that asks was cancelled, so nothing is bought for it."""

    default_cure = "Run it again if the video is wanted after all."


class SchemaDriftError(HailuoError):
    """fal's documents or prices are not what this release knows; nothing was bought."""

    default_cure = (
        "See the artifact for what has drifted, and upgrade: pip install -U prefect-hailuo."
    )
