//! The metrics of checks, named as the Collector's `httpcheck` and `tcpcheck` receivers name theirs.
//!
//! Source: their `metadata.yaml`. `http.status_class` has five points a check, of which one is 1.

table! {
    Checks:
    STATUS = "otelet.check.status", "1", Gauge, Agent,
        "1 if the check was good, else 0. `otelet.check.name`, `otelet.check.kind`.";
    DURATION = "otelet.check.duration", "ms", Gauge, Agent,
        "How long the check took. `otelet.check.name`, `otelet.check.kind`.";
    HTTP_STATUS = "httpcheck.status", "1", UpDownCounter,
        "1 if the status code is of this class, else 0. `http.url`, `http.status_code`, `http.method`, `http.status_class`.";
    HTTP_DURATION = "httpcheck.duration", "ms", Gauge,
        "How long the answer took. `http.url`.";
    HTTP_ERROR = "httpcheck.error", "{error}", UpDownCounter,
        "1 for a check that got no answer. `http.url`, `error.message`.";
    CERT_REMAINING = "httpcheck.tls.cert_remaining", "s", Gauge,
        "How long the server's certificate is still valid. `http.url`.";
    TCP_STATUS = "tcpcheck.status", "1", Gauge,
        "1 if the connection came about, else 0. `tcpcheck.endpoint`.";
    TCP_DURATION = "tcpcheck.duration", "ms", Gauge,
        "How long the connection took. `tcpcheck.endpoint`.";
}
