"""Resources: what every engine does alike."""

from collections.abc import Iterable

import pytest
from google.protobuf.message import Message

from llmgateway.v1.admin_resources_pb2 import ApiKey, Tenant
from llmgateway.v1.errors_pb2 import ErrorReason
from llmgateway.v1.model_service_pb2 import Deployment, Model, Provider
from llmgateway.v1.routing_service_pb2 import Route, Target
from llmgateway_server.errors import Aborted, AlreadyExists, InvalidArgument, NotFound
from llmgateway_server.filters import EVERYTHING, parse_filter, where
from llmgateway_server.storage import SqlStore, repository


async def keep(store: SqlStore, *resources: Message) -> None:
    async with store.writing() as unit:
        for resource in resources:
            await unit.of(type(resource)).add(resource)
        await unit.commit()


async def names(store: SqlStore, kind: type[Provider], *, size: int, text: str = "") -> list[list[str]]:
    """The names on each page of a list."""
    pages: list[list[str]] = []
    after = ""
    while True:
        async with store.reading() as moment:
            page = await moment.of(kind).page("", after, size, parse_filter(text, kind))
        pages.append([item.name for item in page.items])
        after = page.next_token
        if not after:
            return pages


def providers(ids: Iterable[str]) -> list[Provider]:
    return [Provider(name=f"providers/{provider_id}", etag="1") for provider_id in ids]


class TestOne:
    """One resource."""

    async def test_comes_back_as_it_was_kept(self, store: SqlStore) -> None:
        provider = Provider(name="providers/a", etag="1", labels={"team": "søk 検索 🔎"}, base_url="https://a.example")
        provider.create_time.FromNanoseconds(1_700_000_000_123_456_789)
        await keep(store, provider)
        async with store.reading() as moment:
            assert await moment.of(Provider).get("providers/a") == provider

    async def test_that_is_missing_is_not_found(self, store: SqlStore) -> None:
        async with store.reading() as moment:
            with pytest.raises(NotFound) as caught:
                await moment.of(Provider).get("providers/a")
        assert caught.value.metadata == {"resource": "providers/a"}

    async def test_is_changed_only_from_the_version_that_was_read(self, store: SqlStore) -> None:
        await keep(store, Provider(name="providers/a", etag="1"))
        async with store.writing() as unit:
            with pytest.raises(Aborted) as caught:
                await unit.of(Provider).replace(Provider(name="providers/a", etag="3"), "2")
            assert caught.value.reason == ErrorReason.ERROR_REASON_ETAG_MISMATCH
            await unit.of(Provider).replace(Provider(name="providers/a", etag="2"), "1")
            await unit.commit()
        async with store.reading() as moment:
            assert (await moment.of(Provider).get("providers/a")).etag == "2"

    async def test_that_is_missing_is_not_replaced(self, store: SqlStore) -> None:
        async with store.writing() as unit:
            with pytest.raises(NotFound):
                await unit.of(Provider).replace(Provider(name="providers/a", etag="2"), "1")

    async def test_is_added_once_and_the_unit_of_work_goes_on(self, store: SqlStore) -> None:
        await keep(store, Provider(name="providers/a", etag="1"))
        async with store.writing() as unit:
            with pytest.raises(AlreadyExists) as caught:
                await unit.of(Provider).add(Provider(name="providers/a", etag="2"))
            await unit.of(Provider).add(Provider(name="providers/b", etag="1"))
            await unit.commit()
        assert caught.value.metadata == {"resource": "providers/a"}
        assert await names(store, Provider, size=9) == [["providers/a", "providers/b"]]

    async def test_is_removed_whatever_its_version_or_from_one(self, store: SqlStore) -> None:
        await keep(store, *providers("ab"))
        async with store.writing() as unit:
            with pytest.raises(Aborted):
                await unit.of(Provider).remove("providers/a", "2")
            await unit.of(Provider).remove("providers/a", "1")
            await unit.of(Provider).remove("providers/b")
            with pytest.raises(NotFound):
                await unit.of(Provider).remove("providers/b")
            await unit.commit()
        assert await names(store, Provider, size=9) == [[]]

    async def test_may_have_the_id_of_another_kind(self, store: SqlStore) -> None:
        await keep(store, Tenant(name="tenants/a", etag="1"), ApiKey(name="tenants/a/apiKeys/a", etag="1"))
        async with store.reading() as moment:
            assert (await moment.of(ApiKey).get("tenants/a/apiKeys/a")).etag == "1"
            with pytest.raises(NotFound):
                await moment.of(Tenant).get("tenants/a/apiKeys/a")

    @pytest.mark.parametrize(
        "resource",
        [
            Provider(name="providers/a\0b", etag="1"),
            Model(name="models/a", etag="1", aliases=["a\0b"]),
        ],
        ids=["name", "indexed value"],
    )
    async def test_holds_no_nul_where_an_engine_could_not(self, store: SqlStore, resource: Message) -> None:
        async with store.writing() as unit:
            with pytest.raises(InvalidArgument):
                await unit.of(type(resource)).add(resource)
            await unit.of(Provider).add(Provider(name="providers/a", etag="1"))
            await unit.commit()


class TestPages:
    """Lists, page by page."""

    async def test_are_in_byte_order(self, store: SqlStore) -> None:
        ids = ["b", "a", "a-b", "a0", "ab", "B", "é", "z", "Z", "a_b", "10", "9"]
        await keep(store, *providers(ids))
        [found] = await names(store, Provider, size=100)
        assert found == sorted((f"providers/{name}" for name in ids), key=str.encode)

    async def test_are_full_and_the_last_has_no_token(self, store: SqlStore) -> None:
        await keep(store, *providers("abcdef"))
        assert [len(page) for page in await names(store, Provider, size=3)] == [3, 3]
        assert [len(page) for page in await names(store, Provider, size=4)] == [4, 2]

    async def test_are_full_where_a_filter_chooses(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(repository, "_CHUNK", 10)
        many = [
            Provider(name=f"providers/{number:02}", etag="1", labels={"even": str(number % 2 == 0)})
            for number in range(60)
        ]
        await keep(store, *many)
        pages = await names(store, Provider, size=12, text='labels.even = "True"')
        assert [len(page) for page in pages] == [12, 12, 6]
        assert len({name for page in pages for name in page}) == 30

    async def test_show_once_what_was_there_all_the_time(self, store: SqlStore) -> None:
        await keep(store, *providers("bdfhjl"))
        seen: list[str] = []
        after = ""
        inserted = iter("aceg")
        while True:
            async with store.reading() as moment:
                page = await moment.of(Provider).page("", after, 2, EVERYTHING)
            seen += [item.name.removeprefix("providers/") for item in page.items]
            await keep(store, *providers(next(inserted)))
            async with store.writing() as unit:
                await unit.of(Provider).remove(page.items[0].name)
                await unit.commit()
            after = page.next_token
            if not after:
                break
        assert [name for name in seen if name in "bdfhjl"] == list("bdfhjl")
        assert len(seen) == len(set(seen))

    async def test_of_a_parent_hold_its_own_only(self, store: SqlStore) -> None:
        keys = [ApiKey(name=f"tenants/{tenant}/apiKeys/k", etag="1") for tenant in ("a", "a-b", "b")]
        await keep(store, *keys)
        async with store.reading() as moment:
            reader = moment.of(ApiKey)
            assert [key.name for key in (await reader.page("tenants/a", "", 9, EVERYTHING)).items] == [keys[0].name]
            everybody = await reader.page("tenants/-", "", 9, EVERYTHING)
            assert {key.name for key in everybody.items} == {key.name for key in keys}
            assert not (await reader.page("tenants/%", "", 9, EVERYTHING)).items

    async def test_all_reads_everything_piece_by_piece(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(repository, "_CHUNK", 10)
        for count in (0, 9, 10, 11, 30):
            async with store.reading() as moment:
                present = len([provider async for provider in moment.of(Provider).all("")])
            await keep(store, *providers(f"{number:04}" for number in range(present, count)))
            async with store.reading() as moment:
                found = [provider.name async for provider in moment.of(Provider).all("")]
            assert found == [f"providers/{number:04}" for number in range(count)]


class TestPageTokens:
    """Tokens that say where a list goes on."""

    async def test_belong_to_one_list(self, store: SqlStore) -> None:
        await keep(store, *providers("abc"), *(Deployment(name=f"deployments/{d}", etag="1") for d in "abc"))
        async with store.reading() as moment:
            token = (await moment.of(Provider).page("", "", 1, EVERYTHING)).next_token
            only = parse_filter('base_url = ""', Provider)
            for reader, parent, filtered in (
                (moment.of(Deployment), "", EVERYTHING),
                (moment.of(Provider), "tenants/a", EVERYTHING),
                (moment.of(Provider), "", only),
            ):
                with pytest.raises(InvalidArgument) as caught:
                    await reader.page(parent, token, 1, filtered)
                assert caught.value.field == "page_token"

    async def test_that_were_tampered_with_are_refused(self, store: SqlStore) -> None:
        await keep(store, *providers("abc"))
        async with store.reading() as moment:
            token = (await moment.of(Provider).page("", "", 1, EVERYTHING)).next_token
            swapped = {"A": "B"}
            for forged in (
                swapped.get(token[0], "A") + token[1:],
                token[:-2] + swapped.get(token[-2], "A") + token[-1],
                token[:-4],
                token + "AAAA",
                "providers/a",
                "A" * 100_000,
                "!!!",
                "é" * 40,
            ):
                with pytest.raises(InvalidArgument) as caught:
                    await moment.of(Provider).page("", forged, 1, EVERYTHING)
                assert caught.value.field == "page_token"


class TestLookUps:
    """Fields with an index are found by it, and by nothing else than the filter says."""

    async def test_find_what_refers(self, store: SqlStore) -> None:
        route = Route(name="routes/r", etag="1", targets=[Target(model="models/m"), Target(deployment="deployments/a")])
        await keep(
            store,
            Deployment(name="deployments/a", etag="1", provider="providers/p", model="models/m"),
            Deployment(name="deployments/b", etag="1", provider="providers/q", model="models/m"),
            Model(name="models/m", etag="1", aliases=["x", "y"]),
            route,
        )
        async with store.reading() as moment:
            for kind, path, value, found in (
                (Deployment, "provider", "providers/p", ["deployments/a"]),
                (Deployment, "model", "models/m", ["deployments/a", "deployments/b"]),
                (Model, "aliases", "y", ["models/m"]),
                (Model, "aliases", "z", []),
                (Route, "targets.model", "models/m", ["routes/r"]),
                (Route, "targets.deployment", "deployments/b", []),
            ):
                page = await moment.of(kind).page("", "", 9, where(kind, path, value))
                assert [item.name for item in page.items] == found

    async def test_follow_changes(self, store: SqlStore) -> None:
        first = Deployment(name="deployments/a", etag="1", provider="providers/p")
        await keep(store, first)
        async with store.writing() as unit:
            moved = Deployment(name="deployments/a", etag="2", provider="providers/q")
            await unit.of(Deployment).replace(moved, "1")
            at_p = await unit.of(Deployment).page("", "", 9, where(Deployment, "provider", "providers/p"))
            at_q = await unit.of(Deployment).page("", "", 9, where(Deployment, "provider", "providers/q"))
            assert [len(at_p.items), len(at_q.items)] == [0, 1]
            await unit.of(Deployment).remove("deployments/a")
            assert not (await unit.of(Deployment).page("", "", 9, where(Deployment, "provider", "providers/q"))).items
            await unit.commit()

    async def test_contain_does_not_mean_equal(self, store: SqlStore) -> None:
        await keep(store, Deployment(name="deployments/a", etag="1", provider="providers/pq"))
        async with store.reading() as moment:
            text = parse_filter('provider : "providers/p"', Deployment)
            assert (await moment.of(Deployment).page("", "", 9, text)).items
