//! The description of a metric, and the macro that makes a table of them.

/// Makes a constant of each row and the table of all of them.
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

/// A metric: one row of a table of this room, from which `docs/metrics.md` is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// `system.memory.usage`
    pub name: &'static str,
    /// In UCUM: `By`, `s`, `1`, `{restart}`.
    pub unit: &'static str,
    /// How its values add up.
    pub kind: Kind,
    /// Whose metric it is: `export.metrics: agent` exports those of the agent alone.
    pub owner: Owner,
    /// One sentence, with the names of its attributes.
    pub help: &'static str,
}

/// Whose metric a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The agent's and the collector's own, what the agent found out about its checks and its cgroup.
    Agent,
    /// The host's.
    Host,
    /// A container's.
    Containers,
    /// The host or server that a check asks.
    Checks,
}

/// How the values of a metric add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They do not.
    Gauge,
    /// Each is a sum since a start, and never falls.
    Counter,
    /// Each is a sum that may fall as well.
    UpDownCounter,
}
