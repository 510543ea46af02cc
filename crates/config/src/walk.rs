//! Walks through a body and keeps only the values that the overlay needs. A value of an unexpected type is no error
//! here: the collector refuses it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess as _, Visitor,
};

use crate::refusal::Refusal;

/// The longest id of an extension that an overlay repeats, in bytes; also the most ids.
pub(crate) const ID_LIMIT: usize = 256;

/// The most `health_check` extensions, `otlp` receivers, and pipelines of metrics and of logs that are looked at.
const CHECK_LIMIT: usize = 16;

/// The collector's default endpoint of `health_check`.
const DEFAULT_ENDPOINT: &str = "localhost:13133";

/// The collector's default endpoint of HTTP in the `otlp` receiver.
const DEFAULT_OTLP: &str = "localhost:4318";

/// The values of a body that the overlay depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// Whether the body may have pipelines. The collector refuses most configs without any.
    pub has_pipelines: bool,
    /// `service.extensions`, in order; empty also if `extensions_readable` is false.
    pub extensions: Vec<String>,
    /// Whether an overlay may repeat `service.extensions` and add to `extensions`. False if one of them comes from an
    /// expansion such as `${file:extensions.yaml}`: the collector merges before it expands, so the overlay would
    /// replace the expansion.
    pub extensions_readable: bool,
    /// The first enabled `health_check` that can be probed from here.
    pub health_check: Option<Endpoint>,
    /// Whether an enabled extension is an `sd_notify`.
    pub has_sd_notify: bool,
    /// Whether the body has its own `service.telemetry.resource`. An expansion around it counts as one.
    pub has_telemetry_resource: bool,
    /// The `service.name` that the body gives to the collector's own telemetry, if it is plain text.
    pub service_name: Option<String>,
    /// Whether the body leaves the readers of the collector's own metrics to the collector, which then listens on
    /// `localhost:8888`.
    pub default_metrics_reader: bool,
    /// How the agent's metrics can get in.
    pub metrics: SignalPath,
    /// How the agent's log records can get in.
    pub logs: SignalPath,
    /// The pipelines with a Docker receiver, each with its other receivers. Empty also if one of them has no other
    /// receiver.
    pub engine: Vec<Pipeline>,
    /// The pipelines whose receivers an overlay sets.
    pub rewired: Vec<Pipeline>,
    /// Where the data of the pipelines goes.
    pub destination: Destination,
}

/// Where the data of all pipelines goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Destination {
    /// To another program, perhaps: not every exporter is known to stay here.
    #[default]
    Elsewhere,
    /// Where `OTELET_EXPORTER` says, as in the built-in configs.
    Chosen,
    /// Nowhere: each exporter writes to the collector's log, to a file, or drops what it gets.
    Nowhere,
}

impl Inspection {
    /// The same without the Docker receivers: while the engine is away they keep the collector from starting.
    pub fn without_engine(mut self) -> Self {
        self.rewired = std::mem::take(&mut self.engine);
        if let Some(pipeline) = &mut self.metrics.pipeline
            && let Some(rewired) = self.rewired.iter().find(|rewired| rewired.id == pipeline.id)
        {
            pipeline.receivers.clone_from(&rewired.receivers);
        }
        self
    }
}

/// How one signal can get into a collector's pipelines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignalPath {
    /// The address of an `otlp` receiver that a pipeline has and that can be reached from this host, such as
    /// `127.0.0.1:4318`.
    pub receiver: Option<SocketAddr>,
    /// The first pipeline to which an overlay may add a receiver.
    pub pipeline: Option<Pipeline>,
}

/// A pipeline whose receivers are plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// The id of the pipeline, such as `metrics/host`.
    pub id: String,
    /// The ids of its receivers, in order.
    pub receivers: Vec<String>,
}

/// The target of an HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// An IP address, without brackets.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
    /// The path of the URL; it starts with `/`.
    pub path: String,
}

/// Walks through a document.
///
/// # Errors
///
/// The parser's error, if the document is not well-formed.
pub(crate) fn walk(document: serde_yaml::Deserializer<'_>) -> Result<Findings, serde_yaml::Error> {
    let mut found = Findings::default();
    Walk { place: Place::Root, found: &mut found }.deserialize(document)?;
    Ok(found)
}

/// The values that are read. All others are skipped without being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Service,
    Pipelines,
    Enabled,
    Telemetry,
    Resource,
    ServiceName,
    Metrics,
    MetricsLevel,
    /// `readers` of the metrics, or the `address` of older collectors.
    MetricsReader,
    Extensions,
    HealthCheck,
    CheckEndpoint,
    CheckPath,
    Receivers,
    OtlpReceiver,
    Protocols,
    Http,
    HttpEndpoint,
    Pipeline,
    PipelineReceivers,
    /// A pipeline whose receivers are not read.
    OtherPipeline,
    PipelineExporters,
    /// A receiver or an exporter of a pipeline.
    Item,
    /// A key, or an enabled extension.
    Name,
}

impl Place {
    const COUNT: usize = Self::Name as usize + 1;
}

/// The kind of value at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shape {
    #[default]
    Absent,
    Null,
    Mapping,
    Sequence,
    /// A string with `${...}` in it: its value is known to the collector alone.
    Expansion,
    Other,
}

/// The values that the walk has collected.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    shapes: [Shape; Place::COUNT],
    pipelines: usize,
    /// Whether it has any section of a config.
    has_sections: bool,
    enabled: Vec<String>,
    /// The last key or id: `None` unless it is a string of at most [`ID_LIMIT`] bytes.
    name: Option<String>,
    /// Whether an enabled extension has a name that is not plain text.
    enabled_unclear: bool,
    checks: Vec<HealthCheck>,
    /// Whether there is a merge key or a key like `service::telemetry`: then parts of the config come from elsewhere.
    scattered: bool,
    /// Whether there is such a key among the receivers.
    receivers_scattered: bool,
    /// Whether there is such a key among the settings of the collector's own metrics.
    metrics_scattered: bool,
    /// The `service.name` of the collector's own telemetry.
    service_name: Option<String>,
    /// Whether the collector's own metrics are off, or may be.
    metrics_off: bool,
    otlps: Vec<OtlpReceiver>,
    taps: Vec<SignalPipeline>,
    /// The lists of exporters that were read.
    exporter_lists: usize,
    /// Whether an exporter is not known to stay on this host.
    sends: bool,
    /// Whether an exporter is the one of `OTELET_EXPORTER`.
    chosen: bool,
}

/// The settings of one `otlp` receiver.
#[derive(Debug)]
struct OtlpReceiver {
    id: String,
    /// Whether it listens for HTTP at all.
    http: bool,
    /// `None` if the value is not plain text.
    endpoint: Option<String>,
    /// Whether it takes plain HTTP without authentication, on the usual paths.
    plain: bool,
}

/// A pipeline of metrics or logs.
#[derive(Debug)]
struct SignalPipeline {
    id: String,
    receivers: Vec<String>,
    /// Whether the receivers are a list of plain texts.
    readable: bool,
}

/// The settings of one `health_check`.
#[derive(Debug)]
struct HealthCheck {
    id: String,
    /// `None` if the value is not plain text.
    endpoint: Option<String>,
    path: Option<String>,
    /// Whether it answers plain HTTP without authentication.
    plain: bool,
}

impl Findings {
    /// Concludes the values that the overlay needs.
    pub(crate) fn inspected(self) -> Result<Inspection, Refusal> {
        use Shape::{Absent, Expansion, Mapping, Null, Sequence};

        let shape = |place: Place| self.shapes[place as usize];
        if shape(Place::Root) == Null {
            return Err(Refusal::Empty);
        }
        let has_pipelines = match (shape(Place::Service), shape(Place::Pipelines)) {
            (Expansion, _) | (Mapping, Expansion) => true,
            (Mapping, Mapping) => self.pipelines > 0,
            _ => false,
        };
        // Whether a config may have none is for the collector to say: feature gates allow it, and other files may add some.
        let may_have = |place| matches!(shape(place), Absent | Null | Mapping | Expansion);
        let fits = shape(Place::Root) == Mapping && may_have(Place::Service) && may_have(Place::Pipelines);
        if !self.scattered && !self.has_sections {
            return Err(Refusal::NotAConfig);
        }
        if !self.scattered && !fits {
            return Err(Refusal::NoPipelines);
        }

        let clear = !self.scattered && matches!(shape(Place::Service), Absent | Null | Mapping);
        let extensions_readable = clear
            && !self.enabled_unclear
            && matches!(shape(Place::Enabled), Absent | Null | Sequence)
            && matches!(shape(Place::Extensions), Absent | Null | Mapping);
        let has_telemetry_resource = !clear
            || !matches!(shape(Place::Telemetry), Absent | Null | Mapping)
            || !matches!(shape(Place::Resource), Absent | Null);
        let default_metrics_reader = clear
            && matches!(shape(Place::Telemetry), Absent | Null | Mapping)
            && matches!(shape(Place::Metrics), Absent | Null | Mapping)
            && shape(Place::MetricsReader) == Absent
            && !self.metrics_scattered
            && !self.metrics_off;
        let (metrics, logs) = (self.signal_path("metrics", clear), self.signal_path("logs", clear));
        let engine = self.engine(clear);
        let is_known = clear && self.pipelines > 0 && self.exporter_lists == self.pipelines && !self.sends;
        let destination = match (is_known, self.chosen) {
            (false, _) => Destination::Elsewhere,
            (true, true) => Destination::Chosen,
            (true, false) => Destination::Nowhere,
        };
        let extensions = if extensions_readable { self.enabled } else { Vec::new() };
        let settings = |id: &String| self.checks.iter().rfind(|check| check.id.trim() == id.trim());
        Ok(Inspection {
            has_pipelines: has_pipelines || self.scattered,
            health_check: extensions
                .iter()
                .filter(|id| kind(id) == "health_check")
                .find_map(|id| settings(id).and_then(HealthCheck::endpoint)),
            has_sd_notify: extensions.iter().any(|id| kind(id) == "sd_notify"),
            metrics,
            logs,
            engine,
            rewired: Vec::new(),
            extensions,
            extensions_readable,
            has_telemetry_resource,
            service_name: self.service_name.filter(|name| clear && !name.is_empty()),
            default_metrics_reader,
            destination,
        })
    }

    /// The pipelines with a Docker receiver, without that receiver. All of them or none: one Docker receiver that stays
    /// would keep the collector from starting all the same.
    fn engine(&self, clear: bool) -> Vec<Pipeline> {
        if !clear || self.shapes[Place::Pipelines as usize] != Shape::Mapping || self.taps.len() >= CHECK_LIMIT {
            return Vec::new();
        }
        let reads = |id: &String| kind(id) == ENGINE_RECEIVER;
        let reading = self.taps.iter().filter(|tap| tap.readable && tap.receivers.iter().any(reads));
        let left = reading.map(|tap| {
            let receivers: Vec<String> = tap.receivers.iter().filter(|id| !reads(id)).cloned().collect();
            (!receivers.is_empty()).then(|| Pipeline { id: tap.id.clone(), receivers })
        });
        let left: Option<Vec<Pipeline>> = left.collect();
        left.unwrap_or_default()
    }

    /// How a signal can get in. `clear`: the whole service section stands in the body.
    fn signal_path(&self, signal: &str, clear: bool) -> SignalPath {
        use Shape::{Absent, Mapping, Null};

        let shape = |place: Place| self.shapes[place as usize];
        let clear = clear && shape(Place::Pipelines) == Mapping;
        let taps = || self.taps.iter().filter(|tap| kind(&tap.id) == signal);
        if !clear || self.receivers_scattered || !matches!(shape(Place::Receivers), Absent | Null | Mapping) {
            return SignalPath::default();
        }
        let address = |id: &String| self.otlps.iter().find(|otlp| otlp.id.trim() == id.trim())?.address();
        SignalPath {
            receiver: taps().filter(|tap| tap.readable).flat_map(|tap| &tap.receivers).find_map(address),
            pipeline: taps()
                .find(|tap| tap.readable)
                .map(|tap| Pipeline { id: tap.id.clone(), receivers: tap.receivers.clone() }),
        }
    }
}

/// The receiver that reads a Docker engine.
const ENGINE_RECEIVER: &str = "docker_stats";

/// The address at which this host reaches a listener on `endpoint`: an IP address or `localhost`, since a resolver may
/// hang. All addresses of the host (`0.0.0.0`, `[::]`, none) and `localhost` are reached at 127.0.0.1, where the
/// collector listens for each of them.
fn reachable(endpoint: &str) -> Option<SocketAddr> {
    let (host, port) = endpoint.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let address: IpAddr = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse().ok()?,
        None if ["", "localhost"].contains(&host) => Ipv4Addr::LOCALHOST.into(),
        // In an IPv6 address without brackets, the port cannot be told from the address.
        None => host.parse::<Ipv4Addr>().ok()?.into(),
    };
    let address = if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address };
    Some(SocketAddr::new(address, port))
}

impl OtlpReceiver {
    fn address(&self) -> Option<SocketAddr> {
        let usable = self.http && self.plain;
        self.endpoint.as_deref().filter(|_| usable).and_then(reachable)
    }

    /// Enters one of the settings of its HTTP.
    fn child(&mut self, key: &str) -> Option<Place> {
        match key {
            "endpoint" => Some(Place::HttpEndpoint),
            "cors"
            | "include_metadata"
            | "max_request_body_size"
            | "response_headers"
            | "traces_url_path"
            | "compression_algorithms"
            | "read_timeout"
            | "read_header_timeout"
            | "write_timeout"
            | "idle_timeout"
            | "keep_alives_enabled" => None,
            // `tls`, `auth`, `metrics_url_path` and any future setting: it may not take a plain POST.
            _ => {
                self.plain = false;
                None
            }
        }
    }
}

impl HealthCheck {
    /// Where this `health_check` can be probed.
    fn endpoint(&self) -> Option<Endpoint> {
        let path = self.path.as_deref()?;
        if !self.plain || !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let address = reachable(self.endpoint.as_deref()?)?;
        Some(Endpoint { host: address.ip().to_string(), port: address.port(), path: path.to_owned() })
    }

    /// Enters one of its settings.
    fn child(&mut self, key: &str) -> Option<Place> {
        match key {
            "endpoint" => Some(Place::CheckEndpoint),
            "path" => Some(Place::CheckPath),
            "response_body" | "check_collector_pipeline" | "cors" | "include_metadata" => None,
            // `tls`, `auth`, `transport`, `use_v2` and any future setting: it may not answer a plain GET.
            _ => {
                self.plain = false;
                None
            }
        }
    }
}

/// The type in an id such as `health_check/2`.
pub(crate) fn kind(id: &str) -> &str {
    id.split('/').next().unwrap_or_default().trim()
}

/// Reads the value at one place; a value of another type is no error.
struct Walk<'f> {
    place: Place,
    found: &'f mut Findings,
}

impl Walk<'_> {
    fn saw(self, shape: Shape) {
        self.found.shapes[self.place as usize] = shape;
    }

    fn child(&mut self, key: &str) -> Option<Place> {
        let sections = [Place::Root, Place::Service, Place::Telemetry, Place::Extensions];
        if sections.contains(&self.place) && (key == "<<" || key.contains("::")) {
            self.found.scattered = true;
        }
        if self.place == Place::Receivers && (key == "<<" || key.contains("::")) {
            self.found.receivers_scattered = true;
        }
        const SECTIONS: [&str; 6] = ["connectors", "exporters", "extensions", "processors", "receivers", "service"];
        self.found.has_sections |= self.place == Place::Root && SECTIONS.contains(&key);
        if self.place == Place::Metrics && (key == "<<" || key.contains("::")) {
            self.found.metrics_scattered = true;
        }
        let place = match (self.place, key) {
            (Place::Root, "service") => Place::Service,
            (Place::Root, "extensions") => Place::Extensions,
            (Place::Root, "receivers") => Place::Receivers,
            (Place::Service, "pipelines") => Place::Pipelines,
            (Place::Service, "extensions") => Place::Enabled,
            (Place::Service, "telemetry") => Place::Telemetry,
            (Place::Telemetry, "resource") => Place::Resource,
            (Place::Resource, "service.name") => Place::ServiceName,
            (Place::Telemetry, "metrics") => Place::Metrics,
            (Place::Metrics, "level") => Place::MetricsLevel,
            (Place::Metrics, "readers" | "address") => Place::MetricsReader,
            (Place::Extensions, id) if kind(id) == "health_check" => {
                if self.found.checks.len() == CHECK_LIMIT {
                    return None;
                }
                let (endpoint, path) = (Some(DEFAULT_ENDPOINT.to_owned()), Some("/".to_owned()));
                self.found.checks.push(HealthCheck { id: id.to_owned(), endpoint, path, plain: true });
                return Some(Place::HealthCheck);
            }
            (Place::HealthCheck, key) => return self.check().child(key),
            (Place::Receivers, id) if kind(id) == "otlp" => {
                if self.found.otlps.len() == CHECK_LIMIT {
                    return None;
                }
                let endpoint = Some(DEFAULT_OTLP.to_owned());
                self.found.otlps.push(OtlpReceiver { id: id.to_owned(), http: false, endpoint, plain: true });
                return Some(Place::OtlpReceiver);
            }
            (Place::OtlpReceiver, "protocols") => return Some(Place::Protocols),
            (Place::Protocols, "http") => {
                self.otlp().http = true;
                return Some(Place::Http);
            }
            (Place::Http, key) => return self.otlp().child(key),
            // A merge or a path key may change the setting.
            (Place::OtlpReceiver | Place::Protocols, key) => {
                self.otlp().plain &= key != "<<" && !key.contains("::");
                return None;
            }
            (Place::Pipelines, id) if ["metrics", "logs"].contains(&kind(id)) => {
                let known = self.found.taps.iter().filter(|tap| kind(&tap.id) == kind(id)).count();
                if known == CHECK_LIMIT || id.contains("::") {
                    return None;
                }
                self.found.taps.push(SignalPipeline { id: id.to_owned(), receivers: Vec::new(), readable: false });
                return Some(Place::Pipeline);
            }
            (Place::Pipelines, _) => return Some(Place::OtherPipeline),
            (Place::Pipeline, "receivers") => return Some(Place::PipelineReceivers),
            (Place::Pipeline | Place::OtherPipeline, "exporters") => return Some(Place::PipelineExporters),
            _ => return None,
        };
        // The collector refuses a duplicate key, and reading its value again would only multiply aliases.
        (self.found.shapes[place as usize] == Shape::Absent).then_some(place)
    }

    fn check(&mut self) -> &mut HealthCheck {
        self.found.checks.last_mut().expect("one was added on the signal_path in")
    }

    fn otlp(&mut self) -> &mut OtlpReceiver {
        self.found.otlps.last_mut().expect("one was added on the signal_path in")
    }

    fn tap(&mut self) -> &mut SignalPipeline {
        self.found.taps.last_mut().expect("one was added on the signal_path in")
    }

    /// Notes a mapping or a sequence whose content is not read.
    fn collection(mut self, shape: Shape) {
        match self.place {
            Place::OtlpReceiver | Place::Protocols | Place::Http | Place::HttpEndpoint => self.otlp().plain = false,
            Place::Item => self.found.name = None,
            _ => {}
        }
        if matches!(self.place, Place::HealthCheck | Place::CheckEndpoint | Place::CheckPath) {
            self.check().plain = false;
        }
        self.saw(shape);
    }

    /// Reads the receivers of a pipeline.
    fn receivers<'de, A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.tap().readable = true;
        while seq.next_element_seed(Walk { place: Place::Item, found: self.found })?.is_some() {
            let name = self.found.name.take().filter(|id| !id.contains('$'));
            let tap = self.tap();
            match name.filter(|_| tap.receivers.len() < ID_LIMIT) {
                Some(id) => tap.receivers.push(id),
                None => tap.readable = false,
            }
        }
        Ok(())
    }

    /// Reads the exporters of a pipeline.
    fn exporters<'de, A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        const STAY: [&str; 4] = ["debug", "file", "logging", "nop"];
        self.found.exporter_lists += 1;
        while seq.next_element_seed(Walk { place: Place::Item, found: self.found })?.is_some() {
            let id = self.found.name.take().unwrap_or_default();
            if id.starts_with("${env:OTELET_EXPORTER") {
                self.found.chosen = true;
            } else {
                self.found.sends |= !STAY.contains(&kind(&id));
            }
        }
        Ok(())
    }

    /// Notes a value that is neither a mapping, a sequence nor null.
    fn scalar(mut self, text: Option<&str>) {
        let plain = text.filter(|text| text.len() <= ID_LIMIT && !text.contains('$')).map(str::to_owned);
        match self.place {
            Place::HealthCheck => self.check().plain = false,
            Place::CheckEndpoint => self.check().endpoint = plain,
            Place::CheckPath => self.check().path = plain,
            Place::Name | Place::Item => {
                self.found.name = text.filter(|text| text.len() <= ID_LIMIT).map(str::to_owned);
            }
            Place::OtlpReceiver | Place::Protocols | Place::Http => self.otlp().plain = false,
            Place::HttpEndpoint => self.otlp().endpoint = plain,
            Place::ServiceName => self.found.service_name = plain,
            Place::MetricsLevel => {
                self.found.metrics_off = plain.is_none_or(|level| level.eq_ignore_ascii_case("none"))
            }
            _ => {}
        }
        self.saw(if text.is_some_and(|text| text.contains("${")) { Shape::Expansion } else { Shape::Other });
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        match self.place {
            Place::Name => return Err(A::Error::custom("a mapping where a name is expected")),
            Place::Enabled
            | Place::ServiceName
            | Place::MetricsLevel
            | Place::MetricsReader
            | Place::CheckEndpoint
            | Place::CheckPath
            | Place::HttpEndpoint
            | Place::PipelineReceivers
            | Place::PipelineExporters
            | Place::Item => {
                IgnoredAny.visit_map(map)?;
                self.collection(Shape::Mapping);
                return Ok(());
            }
            _ => {}
        }
        let mut len = 0;
        while map.next_key_seed(Walk { place: Place::Name, found: self.found })?.is_some() {
            len += 1;
            let key = self.found.name.take().unwrap_or_default();
            match self.child(&key) {
                Some(place) => map.next_value_seed(Walk { place, found: self.found })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if self.place == Place::Pipelines {
            self.found.pipelines = len;
        }
        self.saw(Shape::Mapping);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        match self.place {
            Place::Name => return Err(A::Error::custom("a list where a name is expected")),
            Place::Enabled => {}
            Place::PipelineReceivers => return self.receivers(seq),
            Place::PipelineExporters => return self.exporters(seq),
            _ => {
                IgnoredAny.visit_seq(seq)?;
                self.collection(Shape::Sequence);
                return Ok(());
            }
        }
        while seq.next_element_seed(Walk { place: Place::Name, found: self.found })?.is_some() {
            let room = self.found.enabled.len() < ID_LIMIT;
            match self.found.name.take().filter(|id| room && !id.contains('$')) {
                Some(id) => self.found.enabled.push(id),
                None => self.found.enabled_unclear = true,
            }
        }
        self.saw(Shape::Sequence);
        Ok(())
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        match self.place {
            // The collector takes a null as an unset key; here its effect is not known.
            Place::CheckEndpoint | Place::CheckPath => self.check().plain = false,
            Place::Name | Place::Item => self.found.name = None,
            Place::HttpEndpoint => self.otlp().plain = false,
            _ => {}
        }
        self.saw(Shape::Null);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.scalar(Some(text));
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.scalar(None);
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(self)
    }
}
