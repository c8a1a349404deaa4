"""Who asks, and what they may: bearer tokens and rules as RBAC writes them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stand_in_kubernetes.errors import ApiError
from stand_in_kubernetes.kinds import Kind

_EVERYTHING = ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},)


@dataclass(frozen=True)
class Account:
    """A service account.

    Args:
        name: Its name; the `ServiceAccount` object of that name is made with it.
        namespace: Where it lives, and where `rules` hold.
        rules: The rules of a `Role`: mappings of `apiGroups`, `resources` and `verbs`.
        cluster_rules: The rules of a `ClusterRole`, which hold everywhere.
    """

    name: str
    namespace: str
    rules: Sequence[Mapping[str, Any]] = ()
    cluster_rules: Sequence[Mapping[str, Any]] = ()

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.namespace}:{self.name}"


ADMIN = Account("admin", "kube-system", cluster_rules=_EVERYTHING)


class Accounts:
    """The accounts and their tokens."""

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._by_token = {secrets.token_urlsafe(24): account for account in (ADMIN, *accounts)}

    def token(self, name: str) -> str:
        return next(token for token, known in self._by_token.items() if known.name == name)

    def who(self, authorization: str | None) -> Account:
        """The account of an `Authorization` header; 401 if it names none."""
        scheme, _, token = (authorization or "").partition(" ")
        account = self._by_token.get(token) if scheme.lower() == "bearer" else None
        if account is None:
            raise ApiError(401, "Unauthorized")
        return account


def check(account: Account, verb: str, kind: Kind, where: Asked) -> None:
    """Refuse with 403 what no rule of the account allows."""
    rules = list(account.cluster_rules)
    if where.namespace == account.namespace:
        rules += account.rules
    resource = f"{kind.plural}/{where.subresource}" if where.subresource else kind.plural
    for rule in rules:
        names = rule.get("resourceNames")
        if (
            _names(rule, "verbs", verb)
            and _names(rule, "apiGroups", kind.group)
            and _names(rule, "resources", resource)
            and (not names or where.name in names)
        ):
            return
    place = f'in the namespace "{where.namespace}"' if where.namespace else "at the cluster scope"
    title = f'{kind.resource} "{where.name}"' if where.name else kind.resource
    raise ApiError(
        403,
        f'{title} is forbidden: User "{account.user}" cannot {verb} resource "{resource}" in API '
        f'group "{kind.group}" {place}',
        name=where.name,
        group=kind.group,
        kind=kind.plural,
    )


@dataclass(frozen=True)
class Asked:
    """Which object, or which collection, a request is about."""

    namespace: str | None
    name: str | None = None
    subresource: str | None = None


def _names(rule: Mapping[str, Any], part: str, value: str) -> bool:
    return "*" in rule.get(part, ()) or value in rule.get(part, ())
