//! The labels of an alert, named as in Prometheus.

use crate::decide::data::alert::{AlertSettings, text};
use crate::telemetry::Attributes;

/// The labels of the host, of the settings and of the series, sorted by name, with names valid in Prometheus.
///
/// An attribute whose label exists already becomes `exported_NAME`, as in Prometheus. Two attributes that make the same
/// label are joined by a semicolon, as in OpenTelemetry.
pub(super) fn all_labels(
    rule: &AlertSettings,
    host: &[(String, String)],
    attributes: &Attributes,
) -> Vec<(String, String)> {
    let mut labels = std::collections::BTreeMap::new();
    for (name, value) in host {
        labels.insert(name.clone(), value.clone());
    }
    labels.insert("severity".into(), rule.severity.to_string());
    for (name, value) in &rule.labels {
        labels.insert(name.clone(), value.clone());
    }
    labels.insert("alertname".into(), rule.name.clone());
    let taken: Vec<String> = labels.keys().cloned().collect();
    let mut pairs: Vec<_> = attributes.iter().collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in pairs {
        let mut name = label_name(name);
        if taken.contains(&name) {
            name = format!("exported_{name}");
        }
        let value = text(value);
        labels
            .entry(name)
            .and_modify(|known| *known = format!("{known};{value}"))
            .or_insert_with(|| value.into_owned());
    }
    // Alertmanager treats an empty label as absent.
    labels.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// The name of an attribute as a Prometheus label: letters, digits and `_`, and no digit first.
fn label_name(name: &str) -> String {
    let mut label: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        label.insert(0, '_');
    }
    label
}
