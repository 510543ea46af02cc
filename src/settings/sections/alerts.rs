//! The list `alerts`: thresholds of metrics.

use otelet_core::decide::{AlertSettings, AlertSeverity, Threshold};
use otelet_core::telemetry;
use otelet_core::text::{clip, nearest};

use crate::settings::error::SettingsError;
use crate::settings::layers::Layers;
use crate::settings::node::join;
use crate::settings::schema::ValueKind::{Choice, Map, Text, Time};
use crate::settings::schema::{Row, column, hours, ms};

#[rustfmt::skip] // A row is a line.
pub(crate) const ROWS: &[Row] = &[
    column("alerts[].name", Text("NAME"), "", "The name of the alert. Required."),
    column("alerts[].metric", Text("METRIC"), "", "The metric to watch, such as system.filesystem.utilization. Required."),
    column("alerts[].where", Map, "", "Attributes that a series must have, by name. Each series with these attributes is an alert of its own."),
    column("alerts[].rate", Choice("true|false"), "false", "Whether to watch the change per second instead of the value."),
    column("alerts[].above", Text("NUMBER"), "", "The value is bad above this number."),
    column("alerts[].below", Text("NUMBER"), "", "The value is bad below this number."),
    column("alerts[].resolve_at", Text("NUMBER"), "", "The value is good again only at this number. Without it: at the number in above or below."),
    column("alerts[].for", Time(ms(0), hours(24)), "0s", "How long the value must be bad before the alert fires."),
    column("alerts[].severity", Choice("info|warning|critical"), "warning", "The severity of the alert."),
    column("alerts[].summary", Text("TEXT"), "", "A sentence for the reader of the alert."),
    column("alerts[].labels", Map, "", "Labels for routing the alert, by name."),
];

pub(crate) fn read(layers: &Layers) -> Result<Vec<AlertSettings>, SettingsError> {
    let mut alerts: Vec<AlertSettings> = Vec::new();
    for key in layers.maps("alerts") {
        let alert = alert(layers, &key)?;
        if alerts.iter().any(|known| known.name == alert.name) {
            return Err(layers.error_of(&join(&key, "name"), "another alert has this name".to_owned()));
        }
        alerts.push(alert);
    }
    Ok(alerts)
}

fn alert(layers: &Layers, key: &str) -> Result<AlertSettings, SettingsError> {
    use AlertSeverity::{Critical, Info, Warning};
    let needed = |column: &str| {
        let given = layers.optional(&join(key, column), |text| Ok(text.to_owned()))?;
        given.ok_or_else(|| layers.error_of(key, format!("an alert needs {column}")))
    };
    let number = |column: &str| {
        layers.optional(&join(key, column), |text| match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) | Err(_) => Err("not a number".to_owned()),
        })
    };
    let (name, metric) = (needed("name")?, needed("metric")?);
    know_metric(layers, &join(key, "metric"), &metric)?;
    let threshold = match (number("above")?, number("below")?) {
        (Some(value), None) => Threshold::Above(value),
        (None, Some(value)) => Threshold::Below(value),
        (None, None) | (Some(_), Some(_)) => {
            return Err(layers.error_of(key, "an alert needs exactly one of above, below".to_owned()));
        }
    };
    let resolve_at = number("resolve_at")?;
    match (threshold, resolve_at) {
        (Threshold::Above(above), Some(good)) if good > above => {
            return Err(layers.error_of(&join(key, "resolve_at"), format!("is above {above}, where the value is bad")));
        }
        (Threshold::Below(below), Some(good)) if good < below => {
            return Err(layers.error_of(&join(key, "resolve_at"), format!("is below {below}, where the value is bad")));
        }
        _ => {}
    }
    let (Threshold::Above(bad) | Threshold::Below(bad)) = threshold;
    Ok(AlertSettings {
        name,
        metric,
        conditions: layers.attributes(&join(key, "where"))?,
        rate: layers.choice(&join(key, "rate"), [true, false])?,
        threshold,
        resolve_at: resolve_at.unwrap_or(bad),
        lasting: layers.time(&join(key, "for"))?,
        severity: layers.choice(&join(key, "severity"), [Info, Warning, Critical])?,
        summary: layers.optional(&join(key, "summary"), |text| Ok(text.to_owned()))?,
        labels: labels(layers, &join(key, "labels"))?,
    })
}

/// An alert on a misspelt metric would never fire.
fn know_metric(layers: &Layers, key: &str, name: &str) -> Result<(), SettingsError> {
    if telemetry::metrics().any(|metric| metric.name == name) {
        return Ok(());
    }
    let way_out = match nearest(name, telemetry::metrics().map(|metric| metric.name)) {
        Some(near) => format!("did you mean {near}?"),
        None => "docs/metrics.md lists all metrics".to_owned(),
    };
    Err(layers.error_of(key, format!("unknown metric {:?}; {way_out}", clip(name))))
}

fn labels(layers: &Layers, key: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let labels = layers.attributes(key)?;
    for (name, _) in &labels {
        if name == "alertname" {
            return Err(layers.error_of(&join(key, name), "is the name of the alert; leave it out".to_owned()));
        }
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(valid) {
            let problem = "not the name of a label; use letters, digits and _, and no digit first";
            return Err(layers.error_of(&join(key, name), problem.to_owned()));
        }
    }
    Ok(labels)
}
