//! The metrics of containers, named as OpenTelemetry's semantic conventions name them.

table! {
    Containers:
    UPTIME = "container.uptime", "s", Gauge,
        "How long the container has been running.";
    CPU_TIME = "container.cpu.time", "s", Counter,
        "CPU time that the container has consumed, on all CPUs together.";
    CPU_USAGE = "container.cpu.usage", "{cpu}", Gauge,
        "CPUs that the container was using, on average since the look before: 0.5 is half of one.";
    MEMORY_USAGE = "container.memory.usage", "By", UpDownCounter,
        "Memory of the container, with the files that the kernel caches for it.";
    WORKING_SET = "container.memory.working_set", "By", UpDownCounter,
        "Memory of the container without cached files that were not used lately: what `docker stats` shows.";
    MEMORY_UTILIZATION = "container.memory.utilization", "1", Gauge,
        "Working set as a fraction of the container's limit, or of the host's memory where it has none.";
    NETWORK_IO = "container.network.io", "By", Counter,
        "Bytes by `network.interface.name` and `network.io.direction` (receive, transmit).";
    DISK_IO = "container.disk.io", "By", Counter,
        "Bytes that went to and came from disks, by `disk.io.direction` (read, write).";
}
