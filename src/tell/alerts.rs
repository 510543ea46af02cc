//! Alerts in `alerts.json` of the state directory, where they survive a restart, and alerts in the status.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::store::{self, StoreError};
use otelet_config::redact::Redactor;
use otelet_core::decide::{
    self, Alert, AlertMemory, AlertReport, AlertSeverity, Deliveries, ResolvedAlert, Threshold, alert,
};
use otelet_core::telemetry::{Attributes, Value};
use otelet_core::units;
use otelet_wire::status::{AlertState, AlertStatus, WebhookStatus};

/// The version of the file. Other versions are not read.
const VERSION: u32 = 1;

/// An alert as the status shows it.
pub fn status_of(report: &AlertReport) -> AlertStatus {
    AlertStatus {
        name: report.name.clone(),
        metric: report.metric.clone(),
        state: state(report.state),
        severity: report.severity.to_string(),
        since: report.since.map(units::rfc3339),
        value: report.value,
        threshold: report.threshold.to_string(),
        attributes: texts(&report.attributes),
        summary: report.summary.clone(),
    }
}

fn state(state: decide::AlertState) -> AlertState {
    match state {
        decide::AlertState::Unmeasured => AlertState::Unmeasured,
        decide::AlertState::Good => AlertState::Good,
        decide::AlertState::Pending => AlertState::Pending,
        decide::AlertState::Firing => AlertState::Firing,
    }
}

/// Redacts the status of an alert: the settings or a measurement may contain secrets.
pub fn mask(alert: &mut AlertStatus, redactor: &Redactor) {
    for text in alert.attributes.values_mut().chain(&mut alert.summary) {
        *text = redactor.line(text);
    }
}

/// The deliveries to the webhook as the status shows them.
pub fn webhook_status(deliveries: &Deliveries) -> WebhookStatus {
    WebhookStatus { sent: deliveries.sent, failed: deliveries.failed, last_error: deliveries.last_error.clone() }
}

pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("alerts.json")
}

/// Writes the alerts to disk.
///
/// # Errors
///
/// [`StoreError::Io`] if the file cannot be made durable; the old one then stays.
pub fn save(state_dir: &Path, memory: &AlertMemory) -> Result<(), StoreError> {
    let text = serde_json::to_vec_pretty(&AlertsFile::from(memory)).expect("maps with string keys and numbers only");
    store::write_durably(&path(state_dir), &text)
}

/// Reads the stored alerts. A file that cannot be read is set aside and described in the second value; it is no error.
pub fn load(state_dir: &Path) -> (AlertMemory, Option<String>) {
    let path = path(state_dir);
    let bytes = match store::read_state(&path) {
        Ok(bytes) => bytes,
        Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => return Default::default(),
        Err(error) => return (AlertMemory::default(), Some(error.chain())),
    };
    let broken = |why: &str| {
        let aside = store::set_aside(&path, why);
        (AlertMemory::default(), Some(format!("{aside}; alerts start anew")))
    };
    match serde_json::from_slice::<AlertsFile>(&bytes) {
        Ok(file) if file.version == VERSION => match AlertMemory::try_from(file) {
            Ok(memory) => (memory, None),
            Err(why) => broken(why),
        },
        Ok(file) => broken(&format!("it is of version {}, not {VERSION}", file.version)),
        Err(error) => broken(&error.to_string()),
    }
}

/// The file. Times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
struct AlertsFile {
    version: u32,
    firing: Vec<KeptAlert>,
    /// Resolved alerts that the webhook has not accepted yet.
    resolved: Vec<KeptAlert>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptAlert {
    name: String,
    metric: String,
    attributes: Vec<(String, KeptValue)>,
    labels: Vec<(String, String)>,
    severity: String,
    summary: Option<String>,
    since: u64,
    value: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    above: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<f64>,
    /// The time between two measurements, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resolved_at: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum KeptValue {
    Int(i64),
    Double(f64),
    Text(String),
}

impl From<&AlertMemory> for AlertsFile {
    fn from(memory: &AlertMemory) -> Self {
        let firing = memory.firing.iter().map(|(alert, every)| KeptAlert {
            every: every.map(|every| every.as_millis().try_into().unwrap_or(u64::MAX)),
            ..alert.into()
        });
        let resolved = memory
            .resolved
            .iter()
            .map(|resolved| KeptAlert { resolved_at: Some(seconds(resolved.at)), ..(&resolved.alert).into() });
        Self { version: VERSION, firing: firing.collect(), resolved: resolved.collect() }
    }
}

impl From<&Alert> for KeptAlert {
    fn from(alert: &Alert) -> Self {
        let (above, below) = match alert.threshold {
            Threshold::Above(value) => (Some(value), None),
            Threshold::Below(value) => (None, Some(value)),
        };
        let value = |value: &Value| match value {
            Value::Text(text) | Value::List(text) => KeptValue::Text(text.to_string()),
            Value::Int(number) => KeptValue::Int(*number),
            Value::Double(number) => KeptValue::Double(*number),
        };
        Self {
            name: alert.name.clone(),
            metric: alert.metric.clone(),
            attributes: alert.attributes.iter().map(|(name, it)| (name.to_string(), value(it))).collect(),
            labels: alert.labels.clone(),
            severity: alert.severity.to_string(),
            summary: alert.summary.clone(),
            since: seconds(alert.since),
            value: alert.value,
            above,
            below,
            every: None,
            resolved_at: None,
        }
    }
}

impl TryFrom<AlertsFile> for AlertMemory {
    type Error = &'static str;

    fn try_from(file: AlertsFile) -> Result<Self, Self::Error> {
        let firing = file.firing.into_iter().map(|kept| {
            let every = kept.every.map(|every| Duration::from_millis(every).min(LONGEST));
            Ok((Alert::try_from(kept)?, every))
        });
        let resolved = file.resolved.into_iter().map(|kept| {
            let at = time(kept.resolved_at.ok_or("a resolved alert has no resolved_at")?)?;
            Ok(ResolvedAlert { alert: kept.try_into()?, at })
        });
        Ok(Self { firing: firing.collect::<Result<_, _>>()?, resolved: resolved.collect::<Result<_, _>>()? })
    }
}

impl TryFrom<KeptAlert> for Alert {
    type Error = &'static str;

    fn try_from(kept: KeptAlert) -> Result<Self, Self::Error> {
        let value = |value| match value {
            KeptValue::Int(number) => Value::Int(number),
            KeptValue::Double(number) => Value::Double(number),
            KeptValue::Text(text) => text.into(),
        };
        Ok(Self {
            name: kept.name,
            metric: kept.metric,
            attributes: kept.attributes.into_iter().map(|(name, it)| (name.into(), value(it))).collect(),
            labels: kept.labels,
            severity: AlertSeverity::from_word(&kept.severity).ok_or("a severity is unknown")?,
            summary: kept.summary,
            since: time(kept.since)?,
            value: kept.value,
            threshold: match (kept.above, kept.below) {
                (Some(value), None) => Threshold::Above(value),
                (None, Some(value)) => Threshold::Below(value),
                (None, None) | (Some(_), Some(_)) => return Err("an alert has not one of above, below"),
            },
        })
    }
}

/// The longest time between two measurements that the settings allow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// 1 January 10000, where RFC 3339 ends.
const END_OF_TIME: u64 = 253_402_300_800;

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(seconds: u64) -> Result<SystemTime, &'static str> {
    if seconds >= END_OF_TIME {
        return Err("a time is beyond the year 9999");
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn texts(attributes: &Attributes) -> BTreeMap<String, String> {
    attributes.iter().map(|(name, value)| (name.to_string(), alert::text(value).into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        Alert {
            name: "full".into(),
            metric: "system.filesystem.utilization".into(),
            attributes: vec![("mountpoint".into(), "/data".into()), ("cpu".into(), 7_i64.into())],
            labels: vec![("alertname".into(), "full".into())],
            severity: AlertSeverity::Critical,
            summary: Some("out of space".into()),
            since: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
            value: 0.97,
            threshold: Threshold::Above(0.9),
        }
    }

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("otelet-alerts-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn saved_alerts_are_read_back() {
        let dir = directory("back");
        let below = Alert { threshold: Threshold::Below(3.5), summary: None, ..alert() };
        let memory = AlertMemory {
            firing: vec![(alert(), Some(Duration::from_secs(16))), (below, None)],
            resolved: vec![ResolvedAlert { alert: alert(), at: SystemTime::UNIX_EPOCH + Duration::from_secs(2_000) }],
        };

        save(&dir, &memory).unwrap();

        assert_eq!(load(&dir), (memory, None));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_missing_file_means_no_alerts_and_a_torn_one_is_set_aside_with_a_warning() {
        let dir = directory("torn");
        assert_eq!(load(&dir), (AlertMemory::default(), None));
        save(&dir, &AlertMemory { firing: vec![(alert(), None)], resolved: Vec::new() }).unwrap();
        let whole = std::fs::read(path(&dir)).unwrap();
        let newer = String::from_utf8(whole.clone()).unwrap().replace("\"version\": 1", "\"version\": 2").into_bytes();
        let eternal = String::from_utf8(whole.clone()).unwrap().replace("1000", "253402300800").into_bytes();
        for (bytes, why) in [
            (&whole[..whole.len() / 2], "EOF"),
            (&b""[..], "EOF"),
            (&[0xff, 0, 1][..], "expected value"),
            (&newer[..], "it is of version 2, not 1"),
            (&eternal[..], "beyond the year 9999"),
        ] {
            std::fs::write(path(&dir), bytes).unwrap();

            let (memory, warning) = load(&dir);

            assert_eq!(memory, AlertMemory::default());
            let warning = warning.expect("a warning");
            assert!(warning.contains(why) && warning.ends_with("alerts start anew"), "{warning}");
            assert!(!path(&dir).exists());
        }
        std::fs::remove_dir_all(dir).unwrap();
    }
}
