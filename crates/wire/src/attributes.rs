//! Attributes, which OpAMP and OTLP encode in the same way.

/// A name and its value.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

impl KeyValue {
    /// Makes an attribute whose value is a text.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: Some(AnyValue::text(value)) }
    }
}

/// A value. Only texts, numbers and lists of texts are sent, so the other kinds of value are left out.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct AnyValue {
    #[prost(string, optional, tag = "1")]
    pub string_value: Option<String>,
    #[prost(int64, optional, tag = "3")]
    pub int_value: Option<i64>,
    #[prost(double, optional, tag = "4")]
    pub double_value: Option<f64>,
    #[prost(message, optional, tag = "5")]
    pub array_value: Option<ArrayValue>,
}

/// A list of texts.
#[derive(Clone, PartialEq, prost::Message)]
#[allow(missing_docs, reason = "the names are those of opentelemetry-proto")]
pub struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

impl AnyValue {
    /// Makes a value that is a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { string_value: Some(text.into()), ..Self::default() }
    }

    /// Makes a value that is a whole number.
    pub fn int(number: i64) -> Self {
        Self { int_value: Some(number), ..Self::default() }
    }

    /// Makes a value that is a number with a fraction.
    pub fn double(number: f64) -> Self {
        Self { double_value: Some(number), ..Self::default() }
    }

    /// Makes a list of one text.
    pub fn list(text: impl Into<String>) -> Self {
        Self { array_value: Some(ArrayValue { values: vec![Self::text(text)] }), ..Self::default() }
    }
}
