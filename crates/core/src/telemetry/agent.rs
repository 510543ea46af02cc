//! The metrics of the agent itself.

table! {
    Agent:
    UPTIME = "otelet.uptime", "s", Gauge,
        "Time since the agent started.";
    EXCHANGES = "otelet.exchanges", "{exchange}", Counter,
        "Round trips with the config source, by otelet.exchange.outcome: offered, unchanged, failed.";
    EXCHANGE_FAILURES = "otelet.exchange.failures", "{failure}", Counter,
        "Exchanges that failed, by error.type: resolve, connect, tls, timeout, status, size, redirect, protocol, signature, missing, read, settings.";
    CONFIG_ROLLOUTS = "otelet.config.rollouts", "{rollout}", Counter,
        "Configs that were tried, by otelet.rollout.outcome: applied, rolled_back, withdrawn.";
    CONFIG_REFUSALS = "otelet.config.refusals", "{refusal}", Counter,
        "Configs that were refused before they were tried.";
    COLLECTOR_RESTARTS = "otelet.collector.restarts", "{restart}", Counter,
        "Starts of the collector after its first, by otelet.restart.cause: crash, hung, config, asked, settings, port, engine, program, local.";
    COLLECTOR_TIME_TO_HEALTHY = "otelet.collector.time_to_healthy", "s", Gauge,
        "Time from the last start of the collector to the first good sign of its health.";
    LOSSES = "otelet.losses", "{item}", Counter,
        "What was lost, by otelet.loss.kind: collector_log_line, agent_log_line, point, record, and otelet.loss.reason: rate, output, full, refused.";
    EXPORTS = "otelet.exports", "{export}", Counter,
        "Exports by OTLP, by otelet.export.outcome: sent, failed.";
}

#[cfg(test)]
mod tests {
    use super::METRICS;
    use crate::telemetry::Metric;

    #[test]
    fn names_are_in_our_namespace_and_none_is_also_a_namespace() {
        for Metric { name, .. } in METRICS {
            assert!(name.starts_with("otelet."), "{name}");
            let inside = |other: &&Metric| other.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            assert_eq!(METRICS.iter().find(inside).map(|other| other.name), None, "below {name}");
        }
    }
}
