"""Two kinds of users whose connections are secured, and what each worker of a distributed run did."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from typing import Any

import gevent
from locust import constant, events, task
from locust.env import Environment

from wsasec.contrib.locust import SecuredFastHttpUser, SecuredHttpUser


class Visitor(SecuredHttpUser):
    """Uses requests."""

    wait_time = constant(0.05)

    @task
    def page(self) -> None:
        """Get a page."""
        self.client.get("/visitor")


class FastVisitor(SecuredFastHttpUser):
    """Uses geventhttpclient."""

    wait_time = constant(0.05)

    @task
    def page(self) -> None:
        """Get a page."""
        self.client.get("/fast-visitor")


_requests: Counter[str] = Counter()
_failures: Counter[str] = Counter()
_environments: list[Environment] = []


@events.init_command_line_parser.add_listener
def _add_option(parser: ArgumentParser, **_: Any) -> None:
    parser.add_argument(
        "--enough", type=int, default=0, help="requests of each worker that end the run early"
    )


@events.init.add_listener
def _begin(environment: Environment, **_: Any) -> None:
    _environments.append(environment)


@events.worker_report.add_listener
def _count(client_id: str, data: dict[str, Any]) -> None:
    _requests[client_id] += sum(entry["num_requests"] for entry in data["stats"])
    _failures[client_id] += sum(entry["num_failures"] for entry in data["stats"])
    options = _environments[0].parsed_options
    if (
        options.enough
        and len(_requests) >= options.expect_workers
        and min(_requests.values()) >= options.enough
    ):
        gevent.spawn(_environments[0].runner.quit)  # not here, within what it ends


@events.quitting.add_listener
def _print(**_: Any) -> None:
    for worker in sorted(_requests):
        print(f"worker {worker}: {_requests[worker]} requests, {_failures[worker]} failures", flush=True)
