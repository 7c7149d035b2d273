"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lightadapt.serving.queue import Job

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)


class Metrics:
    """The counters of one server, apart from those of others in the same process."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "lightadapt_requests", "Requests answered.", ["route", "adapter", "status"], registry=registry
        )
        self.latency = Histogram(
            "lightadapt_request_seconds",
            "From the arrival of a request to its answer.",
            ["adapter"],
            buckets=SECONDS,
            registry=registry,
        )
        self.records = Counter("lightadapt_records", "Records computed.", ["adapter"], registry=registry)
        self.characters = Counter(
            "lightadapt_characters", "Characters of the records computed.", ["adapter"], registry=registry
        )
        self.tokens = Counter("lightadapt_generated_tokens", "Tokens generated.", ["adapter"], registry=registry)
        self.queued = Histogram(
            "lightadapt_queue_seconds",
            "From the arrival of a request to the start of its computation.",
            ["adapter"],
            buckets=SECONDS,
            registry=registry,
        )
        self.computed = Histogram(
            "lightadapt_compute_seconds", "Time that a batch took.", buckets=SECONDS, registry=registry
        )
        self.batches = Histogram("lightadapt_batch_records", "Records of a batch.", buckets=SIZES, registry=registry)
        self.fill = Histogram(
            "lightadapt_batch_fill",
            "Records of a batch as a share of the most there can be.",
            buckets=SHARES,
            registry=registry,
        )
        self.decodes = Histogram(
            "lightadapt_decode_texts", "Texts that are written at once, a token each.", buckets=SIZES, registry=registry
        )
        self.loads = Counter(
            "lightadapt_adapter_loads",
            "Adapters that came into memory because they were asked for.",
            ["how"],
            registry=registry,
        )
        self.loaded = Gauge("lightadapt_adapters_loaded", "Adapters that are in memory.", ["base"], registry=registry)
        self.waiting = Gauge("lightadapt_queue_records", "Records that wait.", registry=registry)

    def note_batch(self, jobs: Sequence[Job], most: int) -> None:
        """Count a batch that was computed, of which there can be so many records."""
        count = sum(len(job.inputs) for job in jobs)
        self.batches.observe(count)
        self.fill.observe(min(1.0, count / most))
        self.computed.observe(max(job.ended for job in jobs) - jobs[0].started)
        self.note_jobs(jobs)

    def note_jobs(self, jobs: Sequence[Job]) -> None:
        """Count requests whose records were computed."""
        for job in jobs:
            self.records.labels(job.name).inc(len(job.inputs))
            self.characters.labels(job.name).inc(job.characters)
            self.queued.labels(job.name).observe(job.started - job.arrived)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return bytes(generate_latest(self._registry))
