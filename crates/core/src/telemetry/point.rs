//! Measured values.

use std::borrow::Cow;
use std::time::SystemTime;

use super::metric::Metric;

/// A measured number. OTLP encodes whole numbers and others differently.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Double(f64),
}

impl Number {
    /// The number as a fraction, for comparisons.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

impl From<u64> for Number {
    /// A number above the largest that OTLP can hold becomes that largest one.
    fn from(value: u64) -> Self {
        Self::Int(value.try_into().unwrap_or(i64::MAX))
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

/// The value of an attribute. OTLP has more types; the agent needs three.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A piece of text.
    Text(Cow<'static, str>),
    /// A whole number.
    Int(i64),
    /// A list with this text alone: the conventions want a list for some names.
    List(Cow<'static, str>),
    /// A number with a fraction.
    Double(f64),
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

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// The attributes of a series or an event: names and values, each name once.
pub type Attributes = Vec<(Cow<'static, str>, Value)>;

/// One measured value of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The metric, a row of one of the tables.
    pub metric: &'static Metric,
    /// The attributes that tell this series from others of the same metric.
    pub attributes: Attributes,
    /// The time from which a sum counts; none for a gauge, or if the time is unknown.
    pub start: Option<SystemTime>,
    /// The number that was measured.
    pub value: Number,
}

impl Point {
    /// A point of a gauge, or of a sum whose start is unknown.
    pub fn new(metric: &'static Metric, value: impl Into<Number>) -> Self {
        Self { metric, attributes: Vec::new(), start: None, value: value.into() }
    }

    /// Adds an attribute.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Sets the start of the sum.
    pub fn since(mut self, start: Option<SystemTime>) -> Self {
        self.start = start;
        self
    }
}

/// All values that were measured at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The time of the measurement, by the wall clock.
    pub at: SystemTime,
    /// The values, in no order.
    pub points: Vec<Point>,
}
