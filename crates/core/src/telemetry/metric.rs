//! The description of a metric, and the macro that makes a table of them.

/// Makes a constant of each row, and the table of all rows.
macro_rules! table {
    ($owner:ident: $($row:ident = $name:literal, $unit:literal, $kind:ident $(, $by:ident)?, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $row: $crate::telemetry::metric::Metric = $crate::telemetry::metric::Metric {
                name: $name,
                unit: $unit,
                kind: $crate::telemetry::metric::Kind::$kind,
                owner: owner!($owner $($by)?),
                help: $help,
            };
        )*

        /// Every metric of this table.
        pub static METRICS: &[$crate::telemetry::metric::Metric] = &[$($row),*];
    };
}

/// The owner of a row: its own, or else that of its table.
macro_rules! owner {
    ($table:ident) => {
        $crate::telemetry::metric::Owner::$table
    };
    ($table:ident $row:ident) => {
        $crate::telemetry::metric::Owner::$row
    };
}

/// A metric: one row of a table of this folder. `docs/metrics.md` is made from these rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, such as `system.memory.usage`.
    pub name: &'static str,
    /// The unit in UCUM: `By`, `s`, `1`, `{restart}`.
    pub unit: &'static str,
    /// Whether a value is a sum, and whether that sum may fall.
    pub kind: Kind,
    /// The owner: `export.metrics: agent` exports only metrics that the agent owns.
    pub owner: Owner,
    /// One sentence for `docs/metrics.md`, with the names of the attributes.
    pub help: &'static str,
}

/// The owner of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The agent: metrics of itself and the collector, of its cgroup, and the results of its checks.
    Agent,
    /// The host that the agent runs on.
    Host,
    /// A container on this host.
    Containers,
    /// The server that a check asks.
    Checks,
}

/// The kind of a metric, as in OpenTelemetry's data model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value of the moment.
    Gauge,
    /// A sum since a start that never falls.
    Counter,
    /// A sum that may also fall.
    UpDownCounter,
}
