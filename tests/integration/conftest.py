# tests/integration/conftest.py - fixtures: whatever a test started ends with it.
import pytest

import harness
import redis_servers



@pytest.fixture
def stack():
    """Things to close after the gateway has gone, last first."""
    things = []
    yield things
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def origin(stack):
    """origin(handler or answer=...) starts a scripted server."""

    def make(handler=None, **kw):
        server = harness.Origin(handler, **kw)
        stack.append(server)
        return server

    return make


@pytest.fixture
def app(stack):
    """app() starts the fast origin in a process of its own."""

    def make(*args, **kw):
        server = harness.AppOrigin(*args, **kw)
        stack.append(server)
        return server

    return make


@pytest.fixture
def gateway(stack, request):
    """gateway(config) starts a gateway; its end is checked: exit code 0, no sanitizer report."""
    gateways = []

    def make(config, **kw):
        wait = kw.pop("wait", True)
        start = kw.pop("start", True)
        gw = harness.Gateway(config, start=False, **kw)
        gateways.append(gw)
        if start:
            gw.start(wait)
        return gw

    yield make
    problems = []
    for gw in gateways:
        try:
            gw.stop()
        except AssertionError as e:
            problems.append(str(e))
        gw.remove()
    assert not problems, "\n".join(problems)


@pytest.fixture
def proxy(gateway, origin):
    """proxy(handler or answer=..., route={...}, service={...}, **config): one origin behind one gateway."""

    def make(handler=None, answer=None, route=None, service=None, listen=None, **config):
        server = origin(handler, answer=answer)
        entry = {"servers": [server.url]}
        entry.update(service or {})
        whole = {
            "services": {"app": entry},
            "routes": [dict({"path": "/", "to": "app"}, **(route or {}))],
        }
        if listen is not None:
            whole["listen"] = {"web": listen}
        whole.update(config)
        return gateway(whole), server

    return make


@pytest.fixture
def load(stack):
    """load(port, ...) starts a load client."""

    def make(port, **options):
        run = harness.Load(port, **options)
        run.close = run.kill
        stack.append(run)
        return run

    return make


@pytest.fixture
def redis(stack):
    """redis.server(), .replica(master), .sentinel(), .cluster(): real servers (redis_servers.py)."""
    if not redis_servers.SERVER:
        pytest.skip("needs redis-server")
    return redis_servers.Redis(stack)
