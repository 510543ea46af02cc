//! Measured values.

use std::borrow::Cow;
use std::time::SystemTime;

use super::metric::Metric;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// Any other.
    Double(f64),
}

impl Number {
    /// As a fraction, for comparisons.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

impl From<u64> for Number {
    /// What is too large for OTLP is the largest that it knows.
    fn from(value: u64) -> Self {
        Self::Int(value.try_into().unwrap_or(i64::MAX))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Names and values, each name once.
pub type Attributes = Vec<(Cow<'static, str>, Value)>;

/// One value of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Which metric.
    pub metric: &'static Metric,
    /// Which series of it.
    pub attributes: Attributes,
    /// Since when a sum counts; none for a gauge, or when it is not known.
    pub start: Option<SystemTime>,
    /// The value.
    pub value: Number,
}

impl Point {
    /// A point of a gauge, or of a sum whose start is not known.
    pub fn new(metric: &'static Metric, value: impl Into<Number>) -> Self {
        Self { metric, attributes: Vec::new(), start: None, value: value.into() }
    }

    /// With one more attribute.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// With the start of its sum.
    pub fn since(mut self, start: Option<SystemTime>) -> Self {
        self.start = start;
        self
    }
}

/// What was measured at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// When.
    pub at: SystemTime,
    /// What.
    pub points: Vec<Point>,
}
