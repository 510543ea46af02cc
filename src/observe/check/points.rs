//! Makes points of the results of checks.

use std::time::SystemTime;

use otelet_wire::status::CheckStatus;

use super::result::{FinishedCheck, milliseconds};
use crate::http;
use crate::settings::{CheckSettings, CheckTarget};
use otelet_core::telemetry::checks::*;
use otelet_core::telemetry::{Metric, Point, Snapshot};

/// The points of one result.
pub fn points(settings: &CheckSettings, checked: &FinishedCheck, at: SystemTime) -> Snapshot {
    let outcome = &checked.outcome;
    let (ok, took) = (u64::from(outcome.result.is_ok()), milliseconds(outcome.took));
    let point = |metric: &'static Metric, value: u64| Point::new(metric, value);
    let named = |metric, value| {
        point(metric, value)
            .with("otelet.check.name", settings.name.clone())
            .with("otelet.check.kind", settings.target.kind().word())
    };
    let mut points = vec![named(&STATUS, ok), named(&DURATION, took)];
    match &settings.target {
        CheckTarget::Http { url, .. } => {
            // Without query and user: they may hold secrets.
            let url = http::parse_url(url).map(|uri| http::public(&uri)).unwrap_or_default();
            let of_url = |metric, value| point(metric, value).with("http.url", url.clone());
            points.push(of_url(&HTTP_DURATION, took));
            if let Some(until) = checked.http.certificate_until {
                let left = until.duration_since(at).unwrap_or_default();
                points.push(of_url(&CERT_REMAINING, left.as_secs()));
            }
            match (checked.http.code, &outcome.result) {
                (Some(code), _) => {
                    points.extend(["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(1..).map(|(class, first)| {
                        of_url(&HTTP_STATUS, u64::from(code / 100 == first))
                            .with("http.status_code", i64::from(code))
                            .with("http.method", "GET")
                            .with("http.status_class", class)
                    }))
                }
                (None, Err(why)) => points.push(of_url(&HTTP_ERROR, 1).with("error.message", why.clone())),
                (None, Ok(_)) => {}
            }
        }
        CheckTarget::Tcp { address } => {
            let of_endpoint = |metric, value| point(metric, value).with("tcpcheck.endpoint", address.clone());
            points.extend([of_endpoint(&TCP_STATUS, ok), of_endpoint(&TCP_DURATION, took)]);
        }
        CheckTarget::Dns { .. } | CheckTarget::Exec { .. } | CheckTarget::Docker { .. } => {}
    }
    Snapshot { at, points }
}

/// The points of checks whose state does not come from a result: built-in checks, and checks that have not come back.
pub fn state_points<'a>(checks: impl Iterator<Item = &'a CheckStatus>, at: SystemTime) -> Snapshot {
    let points = checks.filter(|check| check.duration_ms.is_none()).filter_map(|check| {
        let ok = u64::from(check.ok?);
        Some(
            Point::new(&STATUS, ok)
                .with("otelet.check.name", check.name.clone())
                .with("otelet.check.kind", check.kind.clone()),
        )
    });
    Snapshot { at, points: points.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::check::result::HttpDetails;
    use otelet_core::decide::CheckOutcome;
    use std::time::Duration;

    fn web(result: Result<String, String>, code: Option<u16>) -> Vec<Point> {
        let target = CheckTarget::Http {
            url: "http://example.org:81/health?token=secret".into(),
            status: Vec::new(),
            body: None,
            headers: vec![("authorization".into(), "secret".to_owned().into())],
            trust: crate::settings::CheckTrust::default(),
        };
        let settings = CheckSettings {
            name: "web".into(),
            target,
            every: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
        };
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
        let http = HttpDetails { code, certificate_until: code.map(|_| until) };
        let checked = FinishedCheck { outcome: CheckOutcome { result, took: Duration::from_millis(12) }, http };
        points(&settings, &checked, SystemTime::UNIX_EPOCH).points
    }

    fn values(points: &[Point], name: &str) -> Vec<f64> {
        points.iter().filter(|point| point.metric.name == name).map(|point| point.value.as_f64()).collect()
    }

    #[test]
    fn an_answer_has_a_point_for_each_class_and_one_of_them_is_1() {
        let points = web(Err("answered 503".into()), Some(503));
        assert_eq!(values(&points, "httpcheck.status"), [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(values(&points, "httpcheck.duration"), [12.0]);
        assert_eq!(values(&points, "httpcheck.tls.cert_remaining"), [86_400.0]);
        assert_eq!(values(&points, "otelet.check.status"), [0.0]);
        assert!(values(&points, "httpcheck.error").is_empty());
    }

    #[test]
    fn no_answer_is_an_error_and_the_url_has_no_query() {
        let points = web(Err("connection refused".into()), None);
        assert_eq!(values(&points, "httpcheck.error"), [1.0]);
        assert!(values(&points, "httpcheck.status").is_empty());
        assert!(values(&points, "httpcheck.tls.cert_remaining").is_empty());
        let text = format!("{points:?}");
        assert!(text.contains("http://example.org:81/health") && !text.contains("secret"), "{text}");
    }
}
