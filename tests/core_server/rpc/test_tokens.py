"""Several tokens: what each may do and see, and how they come and go."""

from __future__ import annotations

import hmac
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from core_server.errors import StartupError
from core_server.rpc.tokens import ADMIN, MAIN, USE, TokenBook
from scumble.v1 import (
    generation_pb2,
    image_pb2,
    job_pb2,
    live_service_pb2,
    model_service_pb2,
    server_service_pb2,
    training_service_pb2,
)
from scumble.v1 import generation_service_pb2 as messages
from tests.core_server.rpc.asking import (
    create,
    finished,
    header_of,
    text_to_image,
    upload,
    watch,
)
from tests.core_server.rpc.gateway import (
    SECONDS,
    TOKEN,
    Gateway,
    connect,
    refusal_of,
    running_gateway,
)

posix = pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")


@contextmanager
def as_(gateway: Gateway, token: str) -> Iterator[Gateway]:
    """The same server seen with another token."""
    with connect(gateway.address, token) as channel:
        yield Gateway(
            gateway.address, gateway.config, gateway.jobs, gateway.server, channel, gateway.loop
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, TokenBook]]:
    folder = tmp_path_factory.mktemp("tokens")
    with running_gateway(folder) as gateway:
        gateway.run(gateway.jobs.engine.wait_ready())
        yield gateway, TokenBook(folder)


def soon(action: object, code: grpc.StatusCode) -> None:
    """A running server looks at its token files twice a second."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            action()  # type: ignore[operator]
        except grpc.RpcError as error:
            if error.code() is code:
                return
        assert time.monotonic() < deadline, f"never answered {code}"
        time.sleep(0.05)


def test_jobs_and_images_of_one_are_invisible_to_another(
    served: tuple[Gateway, TokenBook],
) -> None:
    gateway, book = served
    with as_(gateway, book.add("ada")) as ada, as_(gateway, book.add("bob")) as bob:
        soon_ready(ada), soon_ready(bob)
        picture = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
        image_id = upload(ada, picture)
        job = finished(ada, create(ada, text_to_image(), "same-wish").job_id)
        result_id = job.results[0].image_id
        for hidden in (image_id, result_id):
            request = messages.DownloadImageRequest(image_id=hidden)
            refusal = refusal_of(lambda r=request: bob.generation.DownloadImage(r))
            assert refusal.reason == "IMAGE_NOT_FOUND"
            stolen = text_to_image()
            stolen.ClearField("text_to_image")
            stolen.image_to_image.image.image_id = hidden
            assert refusal_of(lambda s=stolen: create(bob, s)).reason == "IMAGE_NOT_FOUND"
        for call in (
            lambda: bob.generation.GetJob(messages.GetJobRequest(job_id=job.job_id)),
            lambda: watch(bob, job.job_id),
            lambda: bob.generation.CancelJob(messages.CancelJobRequest(job_id=job.job_id)),
            lambda: bob.generation.DeleteJob(messages.DeleteJobRequest(job_id=job.job_id)),
        ):
            assert refusal_of(call).reason == "JOB_NOT_FOUND"
        listed = bob.generation.ListJobs(messages.ListJobsRequest()).jobs
        assert [it.job_id for it in listed] == []
        mine = create(bob, text_to_image(), "same-wish")
        assert mine.job_id != job.job_id, "request ids are each owner's own"
        assert upload(bob, picture) == image_id, "the same pixels are the same image ..."
        list(bob.generation.DownloadImage(messages.DownloadImageRequest(image_id=image_id)))
        ada.generation.GetJob(messages.GetJobRequest(job_id=job.job_id))


def soon_ready(gateway: Gateway) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            gateway.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())
        except grpc.RpcError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def test_scopes_decide_who_may_change_the_server(served: tuple[Gateway, TokenBook]) -> None:
    gateway, book = served
    with (
        as_(gateway, book.add("user")) as user,
        as_(gateway, book.add("chief", (USE, ADMIN))) as chief,
    ):
        soon_ready(user), soon_ready(chief)
        request = model_service_pb2.RemoveModelRequest(model_id="tiny")
        refusal = refusal_of(lambda: user.models.RemoveModel(request))
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert refusal.reason == "PERMISSION_DENIED"
        assert refusal.metadata == {"scope": "admin"}
        assert "--admin" in refusal.message
        changing = (
            (user.models.InstallModel, model_service_pb2.InstallModelRequest(source="a/b")),
            (user.models.UnloadModel, model_service_pb2.UnloadModelRequest(model_id="tiny")),
            (user.training.CreateTraining, training_service_pb2.CreateTrainingRequest()),
        )
        for call, wish in changing:
            assert refusal_of(lambda c=call, w=wish: c(w)).metadata == {"scope": "admin"}
        for allowed in (chief, gateway):
            code = refusal_of(lambda it=allowed: it.models.RemoveModel(request)).code
            assert code is not grpc.StatusCode.PERMISSION_DENIED
        info = user.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())
        assert (info.token_name, list(info.token_scopes)) == ("user", ["use"])
        info = gateway.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())
        assert (info.token_name, list(info.token_scopes)) == ("main", ["use", "admin"])


def test_only_admins_name_files_of_the_server(served: tuple[Gateway, TokenBook]) -> None:
    gateway, book = served
    with as_(gateway, book.add("curious")) as user:
        soon_ready(user)
        for model in ("/etc/passwd", "../secret.safetensors", "C:\\models\\x", "hub/name"):
            refusal = refusal_of(lambda it=model: create(user, text_to_image(model=it)))
            assert refusal.code is grpc.StatusCode.PERMISSION_DENIED, model


def test_a_removed_or_rotated_token_counts_no_more(served: tuple[Gateway, TokenBook]) -> None:
    gateway, book = served
    first = book.add("carol")
    with as_(gateway, first) as carol:
        soon_ready(carol)
        job = create(carol, text_to_image())
        second = book.rotate("carol")
        ask = lambda: carol.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())  # noqa: E731
        soon(ask, grpc.StatusCode.UNAUTHENTICATED)
    with as_(gateway, second) as carol:
        soon_ready(carol)
        found = carol.generation.GetJob(messages.GetJobRequest(job_id=job.job_id))
        assert found.job.job_id == job.job_id, "a new token, the same owner"
        book.remove("carol")
        ask = lambda: carol.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())  # noqa: E731
        soon(ask, grpc.StatusCode.UNAUTHENTICATED)


def watching(gateway: Gateway) -> Iterator[object]:
    job = create(gateway, text_to_image())
    return gateway.generation.WatchJob(messages.WatchJobRequest(job_id=job.job_id))


def painting(gateway: Gateway) -> Iterator[object]:
    def frames() -> Iterator[live_service_pb2.PaintRequest]:
        parameters = generation_pb2.GenerationParameters(prompt="moss")
        canvas = np.zeros((16, 16, 3), np.uint8)
        data = image_pb2.ImageData(header=header_of(canvas), payload=canvas.tobytes())
        yield live_service_pb2.PaintRequest(parameters=parameters, canvas=data)
        time.sleep(SECONDS)

    return gateway.live.Paint(frames())


@pytest.mark.parametrize("begin", [watching, painting])
@pytest.mark.parametrize("how", ["remove", "rotate"])
def test_what_a_token_began_ends_with_it(
    served: tuple[Gateway, TokenBook], begin: Callable[[Gateway], Iterator[object]], how: str
) -> None:
    gateway, book = served
    name = f"{how}-{begin.__name__}"
    with as_(gateway, book.add(name)) as user, as_(gateway, TOKEN) as other:
        soon_ready(user)
        busy = create(other, text_to_image("slow")).job_id
        others = other.generation.WatchJob(messages.WatchJobRequest(job_id=busy))
        stream = begin(user)
        next(stream), next(others)
        getattr(book, how)(name)
        refusal = refusal_of(lambda: list(stream))
        assert refusal.code is grpc.StatusCode.UNAUTHENTICATED, "not when it would have ended"
        assert "removed or rotated" in refusal.message
        next(others)
        other.generation.CancelJob(messages.CancelJobRequest(job_id=busy))


def test_the_computers_own_token_rotates_and_keeps_its_jobs(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        gateway.run(gateway.jobs.engine.wait_ready())
        job = create(gateway, text_to_image())
        fresh = TokenBook(tmp_path).rotate()
        assert (tmp_path / "token").read_text().strip() == fresh != TOKEN
        ask = lambda: gateway.about.GetServerInfo(server_service_pb2.GetServerInfoRequest())  # noqa: E731
        soon(ask, grpc.StatusCode.UNAUTHENTICATED)
        with as_(gateway, fresh) as again:
            found = again.generation.GetJob(messages.GetJobRequest(job_id=job.job_id)).job
            assert found.state != job_pb2.JOB_STATE_UNSPECIFIED
    assert TokenBook(tmp_path).find(fresh) is not None
    assert TokenBook(tmp_path).find(TOKEN) is None


@posix
def test_every_token_is_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No clock can show it in a test, so the one function that promises it is watched."""
    book = TokenBook(tmp_path)
    secrets = [book.add(name) for name in ("ada", "bob", "carol")]
    compared: list[tuple[str, str]] = []

    def watched(given: str, known: str) -> bool:
        compared.append((given, known))
        return compare(given, known)

    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", watched)
    for given in ("wrong", *secrets):
        compared.clear()
        assert (book.find(given) is None) == (given == "wrong")
        assert len({known for _, known in compared}) == 4, "all of them, whichever is found"
        assert all(given not in pair for pair in compared), "hashes, not the tokens"


def test_files_are_for_their_owner_alone_and_hold_no_secret(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    secret = book.add("ada")
    book.rotate()
    for name in ("token", "tokens.json"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert secret not in (tmp_path / "tokens.json").read_text()
    assert len(secret) >= 43
    assert not list(tmp_path.glob(".*.*")), "no drafts stay behind"


@pytest.mark.parametrize("name", ["", MAIN, "a b", "../x", "x" * 65, "-x", "ä"])
def test_names_are_plain(tmp_path: Path, name: str) -> None:
    with pytest.raises(StartupError, match="cannot be called"):
        TokenBook(tmp_path).add(name)


def test_names_are_taken_once(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    book.add("ada")
    with pytest.raises(StartupError, match="already"):
        book.add("ada")
    for action in (book.remove, book.rotate):
        with pytest.raises(StartupError, match=r"no token 'bob'; there are: ada"):
            action("bob")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", json.dumps({"version": 2}), json.dumps({"tokens": [{"name": 1}]})]
)
def test_a_broken_file_lets_nobody_in_by_surprise(tmp_path: Path, content: str) -> None:
    book = TokenBook(tmp_path)
    secret = book.add("ada")
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(StartupError, match=r"tokens\.json is broken"):
        TokenBook(tmp_path).find(secret)
