"""What a hub repository offers: the few files of it that are needed, from its listing alone.

The listing comes from the Hub's own client (`huggingface_hub`); HF_ENDPOINT and HF_TOKEN mean there what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core_server.errors import FailedPrecondition, ModelLoadFailed, SourceNotFound, Unavailable
from core_server.pipelines.sources.choice import chosen_files, few, weights_of
from core_server.pipelines.sources.licences import Licence, licence_of
from core_server.pipelines.sources.names import name_from
from core_server.pipelines.sources.offer import Offer, OfferedFile, Shelf
from core_server.pipelines.sources.weights import refuse_pickle_name

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_MAX_INDEX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class HubPlace:
    """owner/name, a file in it ("" for the repository) and a revision."""

    repository: str
    file: str
    revision: str

    @classmethod
    def parse(cls, source: str) -> HubPlace | None:
        """OWNER/NAME[/path/to/file][@REVISION]; None for anything else."""
        text, _, revision = source.partition("@")
        parts = text.split("/")
        if len(parts) < 2 or not all(parts) or any(part.startswith((".", "~")) for part in parts):
            return None
        return cls("/".join(parts[:2]), "/".join(parts[2:]), revision or "main")


class Hub:
    """A hub. endpoint: None is the library's own choice (HF_ENDPOINT, else the public Hub)."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint

    def offer(
        self, place: HubPlace, name: str = "", picked: Mapping[str, str] | None = None
    ) -> Offer:
        """What is there. picked: the files wanted, by the path that they shall have here, where that is known.

        Errors: SourceNotFound, FailedPrecondition (gated), Unavailable, ModelLoadFailed.
        """
        info = self._info(place)
        commit = info.sha or place.revision
        listed = {it.rfilename: it for it in info.siblings or ()}
        shelf: Shelf | None = None
        single = bool(place.file)
        if picked or single:
            chosen = dict(picked or {place.file.rpartition("/")[2]: place.file})
        else:
            names, single, shelf = chosen_files(
                place.repository,
                sorted(listed),
                lambda path: self._read_json(place.repository, path, commit),
            )
            chosen = {name.rpartition("/")[2] if single else name: name for name in names}
        for path in chosen.values():
            refuse_pickle_name(path)
            if path not in listed:
                raise SourceNotFound(
                    f"{place.repository} has no file {path!r}; it has {few(weights_of(listed))}."
                )
        files = tuple(
            OfferedFile(
                path=here,
                url=self._url(place.repository, path, commit),
                size=int(listed[path].size or 0),
                sha256=_sha256(listed[path]),
                git_sha1="" if _sha256(listed[path]) else str(listed[path].blob_id or ""),
            )
            for here, path in chosen.items()
        )
        return Offer(
            name=name or name_from(place.file or place.repository),
            source=f"{place.repository}{'/' + place.file if place.file else ''}@{commit}",
            title=place.file.rpartition("/")[2] or place.repository.partition("/")[2],
            licence=_licence(info),
            files=files,
            shelf=shelf,
            single=single,
            url=f"{self.address()}/{place.repository}",
        )

    def headers(self) -> dict[str, str]:
        """For requests to this hub: who asks and, if somebody signed in, their token."""
        from huggingface_hub import get_token  # noqa: PLC0415  only when asked to

        token = get_token()
        return {"user-agent": "scumble"} | ({"authorization": f"Bearer {token}"} if token else {})

    def address(self) -> str:
        """Where the hub is, without a slash at the end."""
        from huggingface_hub import constants  # noqa: PLC0415  only when asked to

        return (self._endpoint or str(constants.ENDPOINT)).rstrip("/")

    def _info(self, place: HubPlace) -> ModelInfo:
        from huggingface_hub import HfApi  # noqa: PLC0415  only when asked to

        with hub_errors(place.repository):
            return HfApi(endpoint=self._endpoint).model_info(
                place.repository, revision=place.revision, files_metadata=True
            )

    def _url(self, repository: str, path: str, commit: str) -> str:
        from huggingface_hub import hf_hub_url  # noqa: PLC0415  only when asked to

        return str(hf_hub_url(repository, path, revision=commit, endpoint=self.address()))

    def _read_json(self, repository: str, path: str, commit: str) -> dict[str, Any]:
        from huggingface_hub import get_session, hf_raise_for_status  # noqa: PLC0415

        with hub_errors(repository):
            response = get_session().get(
                self._url(repository, path, commit), headers=self.headers(), follow_redirects=True
            )
            hf_raise_for_status(response)
            content = response.content[: _MAX_INDEX_BYTES + 1]
        try:
            value = json.loads(content) if len(content) <= _MAX_INDEX_BYTES else None
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise ModelLoadFailed(f"{path} of {repository} is no JSON object.")
        return value


@contextmanager
def hub_errors(what: str, kept: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Turns what the Hub's client raises into one sentence. kept: bytes of a download that are here already."""
    import httpx2  # noqa: PLC0415  only when asked to
    from huggingface_hub import errors  # noqa: PLC0415

    try:
        yield
    except errors.GatedRepoError as error:
        raise FailedPrecondition(
            f"The owner of {what} wants to know who downloads it: accept the terms on its page, then sign in with "
            "`hf auth login` (or set HF_TOKEN) and try again."
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise SourceNotFound(
            f"There is no model {what!r} on the Hub, or it is private; check the spelling, or sign in with `hf auth "
            "login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceNotFound(
            f"{what} has no such revision; leave @REVISION out for the newest."
        ) from error
    except errors.EntryNotFoundError as error:
        raise SourceNotFound(
            f"{what} is gone (404); look at the model's page for another version."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise Unavailable(
            "HF_HUB_OFFLINE is set, so nothing is downloaded; unset it and start the server again."
        ) from error
    except (errors.HfHubHTTPError, httpx2.HTTPStatusError) as error:
        code = getattr(error.response, "status_code", 0) if error.response is not None else 0
        if code == 404:
            raise SourceNotFound(f"{what} is not there (404); check the address.") from error
        raise Unavailable(
            f"The Hub answered {code or 'nothing useful'} for {what}; try again later, what is here already is kept."
        ) from error
    except httpx2.UnsupportedProtocol as error:
        raise Unavailable(
            "HF_ENDPOINT is no address; unset it, or set it to one such as https://huggingface.co, and start the "
            "server again."
        ) from error
    except httpx2.HTTPError as error:
        if not kept():
            raise Unavailable(
                f"{what} could not be reached ({type(error).__name__}); check the network and run the same command "
                "again."
            ) from error
        raise Unavailable(
            f"The download of {what} broke off ({type(error).__name__}); check the network and run the same command "
            "again, it goes on where it stopped."
        ) from error


def _sha256(file: RepoSibling) -> str:
    return str(file.lfs.sha256) if file.lfs else ""


def _licence(info: ModelInfo) -> Licence:
    card = info.card_data
    if card is None:
        return licence_of(None)
    value = card.license[0] if isinstance(card.license, list) and card.license else card.license
    return licence_of(value, card.license_name, card.license_link)
