"""The topics that a pipeline declares, and how they differ from those that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from kafka.admin import AlterConfigOp, ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from connectors import debezium
from connectors.mariadb import connector as mariadb_connector
from contracts.errors import ContractError, ServiceUnavailable
from contracts.stream import Pipeline, Stream

_DAY_MS = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as declared or as found; of a found one, `config` holds only what differs from the broker's default.
    `made_anew`: what a person does about one that has another number of partitions; empty where its records are kept.
    """

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)
    made_anew: str = field(default="", compare=False)

    def __str__(self) -> str:
        config = ", ".join(f"{name}={value}" for name, value in sorted(self.config.items()))
        return f"{self.partitions} partition{'s' if self.partitions != 1 else ''}, {config}"


def declared(pipeline: Pipeline) -> list[Topic]:
    """Every topic the pipeline needs. A table's changes have one partition: their order is the Kafka offset.

    ContractError for a stream in whose topic something else than its rows is written.
    """
    beside = _beside_streams(pipeline)
    taken = {topic.name for topic in beside}
    for stream in pipeline.streams:
        if stream.topic in taken:
            raise ContractError(
                f"stream {stream.name}: other things than its rows are written to its topic `{stream.topic}`",
                file=stream.file,
                write="for a table, a pipeline of its own; for files, another `headrace.topic`",
            )
    return [*(_of_stream(stream) for stream in pipeline.streams), *beside]


def _beside_streams(pipeline: Pipeline) -> list[Topic]:
    topics: list[Topic] = []
    if pipeline.file_streams:
        topics.append(Topic(pipeline.files_topic, 1, {"cleanup.policy": "compact"}))
    if (postgres := pipeline.of("postgres")).cdc_streams:
        # What is told of the tables' DDL is kept as long as the rows between which it stands.
        messages = Topic(debezium.message_topic(postgres), 1, _kept(_longest(postgres)))
        topics += [*_of_connector(postgres), messages]
        topics += _of_requests(debezium.signal_rows_topic(postgres, debezium.overrides(postgres)))
    if (mariadb := pipeline.of("mariadb")).cdc_streams:
        # Whoever loses the tables' definitions can read no more of the binlog.
        topics += [*_of_connector(mariadb), Topic(mariadb_connector.history_topic(mariadb), 1, _kept(None))]
        topics += _of_requests(debezium.signal_rows_topic(mariadb, mariadb_connector.overrides(mariadb)))
    if (mongodb := pipeline.of("mongodb")).cdc_streams:
        topics += [topic for topic in _of_connector(mongodb) if topic.name != mongodb.transaction_topic]
    return topics


def _of_connector(part: Pipeline) -> list[Topic]:
    connector = debezium.connector_name(part)
    made_anew = (
        f"stop connector {connector} (`PUT /connectors/{connector}/stop`), delete the topic (`kafka-topics.sh "
        "--delete`), then `headrace apply`, which makes the topic and starts the connector; rows whose transaction's "
        "END was in the deleted one show with the next transaction"
    )
    return [
        Topic(part.transaction_topic, 1, _kept(_longest(part)), made_anew),
        Topic(debezium.heartbeat_topic(part), 1, _kept(1)),
        Topic(debezium.signals_topic(part), 1, _kept(1)),
        Topic(debezium.notifications_topic(part), 1, _kept(None)),
    ]


def _of_requests(name: str) -> list[Topic]:
    return [Topic(name, 1, _kept(1))] if name else []


def _longest(part: Pipeline) -> int:
    return max(stream.retention_days for stream in part.cdc_streams)


def _of_stream(stream: Stream) -> Topic:
    config = {**_kept(stream.retention_days), "max.message.bytes": str(debezium.MAX_MESSAGE_BYTES)}
    return Topic(stream.topic, 1 if stream.is_cdc else stream.partitions, config)


def _kept(days: int | None) -> dict[str, str]:
    # A broker-wide limit by size would cut the promised replay short.
    return {"cleanup.policy": "delete", "retention.bytes": "-1", "retention.ms": str(days * _DAY_MS if days else -1)}


@contextmanager
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    """An admin client, closed at the end; ServiceUnavailable if the broker does not answer."""
    try:
        client = KafkaAdminClient(bootstrap_servers=kafka, client_id="headrace-plan")
    except KafkaError as error:
        raise ServiceUnavailable(
            f"Kafka did not answer: {error}", next_step="`headrace status` shows whether the broker runs", broker=kafka
        ) from error
    try:
        yield client
    finally:
        client.close()


def existing(client: KafkaAdminClient, names: list[str]) -> dict[str, Topic]:
    """Those of `names` that exist."""
    present = sorted(set(client.list_topics()) & set(names))
    if not present:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in present]
    configs = client.describe_configs(resources, config_filter="all")["topic"]
    return {
        found["name"]: Topic(
            found["name"],
            len(found["partitions"]),
            {name: str(entry["value"]) for name, entry in configs[found["name"]].items()},
        )
        for found in client.describe_topics(present)
    }


def changed_config(wanted: Topic, found: Topic) -> dict[str, tuple[str, str]]:
    """Declared settings whose value differs: name -> (found, declared). Settings nobody declared are left alone."""
    return {
        name: (found.config.get(name, ""), value)
        for name, value in wanted.config.items()
        if found.config.get(name, "") != value
    }


def create(kafka: str, topic: Topic) -> None:
    """Creates the topic with the broker's own replication; one that appeared meanwhile is left as it is."""
    with admin(kafka) as client:
        spec = {topic.name: {"num_partitions": topic.partitions, "configs": dict(topic.config)}}
        try:
            client.create_topics(spec, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return


def configure(kafka: str, topic: Topic) -> None:
    """Sets the declared settings and no other."""
    with admin(kafka) as client:
        values = {name: (AlterConfigOp.SET, value) for name, value in topic.config.items()}
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, configs=values)])
