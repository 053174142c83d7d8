"""One walk through everything Mem0's Python clients can do, the same for every version of theirs.

`python -m tests.contract.clients.mem0.scenario URL {sync,async}` walks with the client that is on the path, and
prints what came of it. Its own switches turn its telemetry off and keep its files in a directory of their own;
both must be set before it is imported.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.metadata
import inspect
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

FAR = "2999-12-31"
TEA = "My name is Alice and I love green tea."
TALK = [
    {"role": "user", "content": "I live in Lisbon."},
    {"role": "assistant", "content": "Lisbon is lovely in spring."},
]


def clients() -> tuple[Any, Any]:
    """Return the two classes of the installed client, imported without telemetry."""
    os.environ["MEM0_TELEMETRY"] = "False"
    if "MEM0_DIR" not in os.environ:  # the client writes there when it is imported
        os.environ["MEM0_DIR"] = tempfile.mkdtemp(prefix="mem0-")
        atexit.register(shutil.rmtree, os.environ["MEM0_DIR"], ignore_errors=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mem0 import AsyncMemoryClient, MemoryClient  # type: ignore[attr-defined,unused-ignore]
    return MemoryClient, AsyncMemoryClient


def play(url: str) -> Any:
    """Walk with the synchronous client."""
    client, _ = clients()
    return asyncio.run(walk(lambda: client(api_key="any", host=url)))


async def walk(connect: Callable[[], Any]) -> dict[str, Any]:
    """Use everything and return what it answered."""
    major = int(importlib.metadata.version("mem0ai").split(".")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # older versions warn of their own defaults
        client = connect()
        told: dict[str, Any] = {"org": client.org_id, "project": client.project_id}
        await _add(client, told, major)
        first = told["added"]["results"][0]["id"]
        await _read(client, told, first, major)
        await _change(client, told, first, major)
        await _forget(client, told, first, major)
    return told


async def _add(client: Any, told: dict[str, Any], major: int) -> None:
    alice = {"filters": {"user_id": "alice"}} if major >= 2 else {"user_id": "alice"}
    tea = [{"role": "user", "content": TEA}]
    told["added"] = await _done(client.add(tea, **alice, metadata={"topic": "drinks", "cups": 3}))
    told["again"] = await _done(client.add(tea, **alice, metadata={"topic": "drinks", "cups": 3}))
    told["talk"] = await _done(client.add(TALK, **alice, infer=False))
    told["text"] = await _done(client.add("Bob repairs bicycles.", user_id="bob", agent_id="helper", run_id="r/1"))
    told["dated"] = await _done(
        client.add([{"role": "user", "content": "The ticket is valid."}], user_id="bob", expiration_date=FAR)
    )
    told["over"] = await _done(
        client.add([{"role": "user", "content": "The offer is open."}], user_id="bob", expiration_date="2020-01-31")
    )


async def _read(client: Any, told: dict[str, Any], first: str, major: int) -> None:
    told["got"] = await _done(client.get(first))
    told["all"] = await _list(client, major, user_id="alice")
    told["found"] = await _search(client, major, "green tea", user_id="alice")
    told["nobody"] = await _search(client, major, "green tea", user_id="carol")
    if major >= 1:
        several = {
            "AND": [{"OR": [{"user_id": "alice"}, {"agent_id": {"in": ["helper"]}}]}, {"NOT": [{"run_id": "*"}]}]
        }
        told["filtered"] = await _done(client.get_all(filters=several))
        told["drinks"] = await _done(
            client.search("tea", filters={"user_id": "*", "metadata": {"topic": "drinks"}}, top_k=1)
        )
        told["page"] = await _done(client.get_all(filters={"user_id": "alice"}, page=2, page_size=2))
        told["expired"] = await _done(client.get_all(filters={"user_id": "bob"}, show_expired=True))
    told["history"] = await _done(client.history(first))
    told["users"] = await _done(client.users())
    told["missing"] = await _refused(lambda: client.get("no/such id"))
    told["everybody"] = await _refused(lambda: client.delete_all())


async def _change(client: Any, told: dict[str, Any], first: str, major: int) -> None:
    told["updated"] = await _done(client.update(first, text="Alice loves black tea.", metadata={"cups": 4}))
    if major >= 2:
        told["expiring"] = await _done(client.update(first, expiration_date=FAR))
        told["kept"] = await _done(client.update(first, expiration_date=None))
    if major >= 1:
        told["moved"] = await _done(client.update(first, timestamp=1_700_000_000))
    second = told["talk"]["results"][0]["id"]
    told["batch"] = await _done(
        client.batch_update([{"memory_id": first, "text": "Alice drinks tea."}, {"memory_id": second, "text": "Hm."}])
    )
    if major >= 2:  # before, the client raises a TypeError of its own once it has the answer
        told["feedback"] = await _done(client.feedback(first, feedback="POSITIVE"))
    told["past"] = await _done(client.history(first))
    told["unserved"] = await _refused(lambda: client.create_memory_export(schema="{}", filters={"user_id": "alice"}))


async def _forget(client: Any, told: dict[str, Any], first: str, major: int) -> None:
    second, third = (one["id"] for one in told["talk"]["results"])
    told["deleted"] = await _done(client.delete(first))
    told["gone"] = await _refused(lambda: client.get(first))
    told["remembered"] = await _done(client.history(first))
    told["batch_deleted"] = await _done(client.batch_delete([{"memory_id": second}, {"memory_id": third}]))
    told["rest"] = await _list(client, major, user_id="alice")
    told["all_deleted"] = await _done(client.delete_all(user_id="alice"))
    told["none"] = await _list(client, major, user_id="alice")
    if major >= 2:
        from mem0.client.types import DeleteAllMemoryOptions

        await _done(client.add("Dan is here.", user_id="dan"))
        told["printed"] = await _done(client.delete_all(DeleteAllMemoryOptions(filters={"user_id": "dan"})))
        told["dan"] = await _list(client, major, user_id="dan")
    told["others"] = await _list(client, major, user_id="bob")
    told["user_deleted"] = await _done(client.delete_users(run_id="r/1"))
    told["reset"] = await _done(client.reset())
    told["nobody_left"] = await _done(client.users())


async def _list(client: Any, major: int, **owner: str) -> Any:
    return await _done(client.get_all(filters=owner) if major >= 2 else client.get_all(**owner))


async def _search(client: Any, major: int, query: str, **owner: str) -> Any:
    return await _done(client.search(query, filters=owner) if major >= 2 else client.search(query, **owner))


async def _done(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


async def _refused(call: Callable[[], Any]) -> dict[str, str]:
    """Return which error a call ends with; one that ends well is a failure."""
    try:
        answer = await _done(call())
    except Exception as error:  # noqa: BLE001  # every version has classes of its own
        return {"error": type(error).__name__, "said": str(error)}
    raise AssertionError(f"it was not refused: {answer}")


def main(url: str, kind: str) -> None:
    plain, awaited = clients()
    chosen = {"sync": plain, "async": awaited}[kind]
    print(json.dumps(asyncio.run(walk(lambda: chosen(api_key="any", host=url)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
