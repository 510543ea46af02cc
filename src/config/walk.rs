//! The walk through a body that reads what the overlay needs to know, whatever stands where. Nothing else is kept, and
//! nothing is refused by its type: that is the collector's business.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::de::{
    DeserializeSeed, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, VariantAccess as _, Visitor,
};

use super::Refusal;

/// The longest id of an extension that an overlay repeats, in bytes, and the most ids.
pub(super) const ID_LIMIT: usize = 256;

/// The most `health_check` extensions that are looked at.
const CHECK_LIMIT: usize = 16;

/// The collector's default endpoint of `health_check`.
const DEFAULT_ENDPOINT: &str = "localhost:13133";

/// What a body says that the overlay needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspected {
    /// `service.extensions`, in order; empty also if `extensions_readable` is false.
    pub extensions: Vec<String>,
    /// Whether an overlay may repeat `service.extensions` and add to `extensions`. Not so if one of them comes from an
    /// expansion such as `${file:extensions.yaml}`: the collector merges before it expands, so the overlay would
    /// replace what the expansion brings.
    pub extensions_readable: bool,
    /// The first enabled `health_check` that can be probed from here.
    pub health_check: Option<Endpoint>,
    /// Whether an enabled extension is an `sd_notify`.
    pub has_sd_notify: bool,
    /// Whether the body has its own `service.telemetry.resource`, or may have: an expansion around it counts.
    pub has_telemetry_resource: bool,
}

/// Where an HTTP probe goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// An IP address, without brackets.
    pub host: String,
    /// A TCP port, never 0.
    pub port: u16,
    /// Starts with `/`.
    pub path: String,
}

/// Walks through a document.
///
/// # Errors
///
/// The parser's, if it is not well-formed.
pub(super) fn walk(document: serde_yaml::Deserializer<'_>) -> Result<Found, serde_yaml::Error> {
    let mut found = Found::default();
    Walk { place: Place::Root, found: &mut found }.deserialize(document)?;
    Ok(found)
}

/// The values that are looked at; everything else is passed over without being kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Service,
    Pipelines,
    Enabled,
    Telemetry,
    Resource,
    Extensions,
    Check,
    CheckEndpoint,
    CheckPath,
    /// A key, or an enabled extension.
    Name,
}

impl Place {
    const COUNT: usize = Self::Name as usize + 1;
}

/// What stands at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Shape {
    #[default]
    Absent,
    Null,
    Mapping,
    Sequence,
    /// A string with `${...}` in it: what the collector reads there cannot be known here.
    Expansion,
    Other,
}

/// What was seen on the way through a body.
#[derive(Debug, Default)]
pub(super) struct Found {
    shapes: [Shape; Place::COUNT],
    pipelines: usize,
    enabled: Vec<String>,
    /// The last key or id: `None` unless it is a string of at most [`ID_LIMIT`] bytes.
    name: Option<String>,
    /// An enabled extension has a name that is not plain text.
    enabled_unclear: bool,
    checks: Vec<Check>,
    /// A merge key or a key like `service::telemetry` on the way: parts of the config come from elsewhere.
    scattered: bool,
}

/// The settings of one `health_check`.
#[derive(Debug)]
struct Check {
    id: String,
    /// `None` if it is not plain text.
    endpoint: Option<String>,
    path: Option<String>,
    /// Whether it is plain HTTP without authentication.
    plain: bool,
}

impl Found {
    /// What of it the overlay needs.
    pub(super) fn inspected(self) -> Result<Inspected, Refusal> {
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
        if !has_pipelines && !self.scattered {
            return Err(Refusal::NoPipelines);
        }

        let clear = !self.scattered && shape(Place::Service) == Mapping;
        let extensions_readable = clear
            && !self.enabled_unclear
            && matches!(shape(Place::Enabled), Absent | Null | Sequence)
            && matches!(shape(Place::Extensions), Absent | Null | Mapping);
        let has_telemetry_resource = !clear
            || !matches!(shape(Place::Telemetry), Absent | Null | Mapping)
            || !matches!(shape(Place::Resource), Absent | Null);
        let extensions = if extensions_readable { self.enabled } else { Vec::new() };
        let settings = |id: &String| self.checks.iter().rfind(|check| check.id.trim() == id.trim());
        Ok(Inspected {
            health_check: extensions
                .iter()
                .filter(|id| kind(id) == "health_check")
                .find_map(|id| settings(id).and_then(Check::endpoint)),
            has_sd_notify: extensions.iter().any(|id| kind(id) == "sd_notify"),
            extensions,
            extensions_readable,
            has_telemetry_resource,
        })
    }
}

impl Check {
    /// Where this one can be probed: at an IP address or `localhost`. Other names are not, since looking them up may
    /// hang; all addresses of the host (`0.0.0.0`, `[::]`, none) and `localhost` are probed at 127.0.0.1, where the
    /// collector listens for each of them.
    fn endpoint(&self) -> Option<Endpoint> {
        let path = self.path.as_deref()?;
        if !self.plain || !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (host, port) = self.endpoint.as_deref()?.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let address: IpAddr = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => inner.parse().ok()?,
            None if ["", "localhost"].contains(&host) => Ipv4Addr::LOCALHOST.into(),
            // An IPv6 address without brackets has no port that could be told from it.
            None => host.parse::<Ipv4Addr>().ok()?.into(),
        };
        let address = if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address };
        Some(Endpoint { host: address.to_string(), port, path: path.to_owned() })
    }

    /// Goes to one of its settings.
    fn child(&mut self, key: &str) -> Option<Place> {
        match key {
            "endpoint" => Some(Place::CheckEndpoint),
            "path" => Some(Place::CheckPath),
            "response_body" | "check_collector_pipeline" | "cors" | "include_metadata" => None,
            // `tls`, `auth`, `transport`, `use_v2` and whatever comes: it may not answer a plain GET.
            _ => {
                self.plain = false;
                None
            }
        }
    }
}

/// The type in an id such as `health_check/2`.
pub(super) fn kind(id: &str) -> &str {
    id.split('/').next().unwrap_or_default().trim()
}

/// Walks the values that matter, whatever they are; never fails by their type.
struct Walk<'f> {
    place: Place,
    found: &'f mut Found,
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
        let place = match (self.place, key) {
            (Place::Root, "service") => Place::Service,
            (Place::Root, "extensions") => Place::Extensions,
            (Place::Service, "pipelines") => Place::Pipelines,
            (Place::Service, "extensions") => Place::Enabled,
            (Place::Service, "telemetry") => Place::Telemetry,
            (Place::Telemetry, "resource") => Place::Resource,
            (Place::Extensions, id) if kind(id) == "health_check" => {
                if self.found.checks.len() == CHECK_LIMIT {
                    return None;
                }
                let (endpoint, path) = (Some(DEFAULT_ENDPOINT.to_owned()), Some("/".to_owned()));
                self.found.checks.push(Check { id: id.to_owned(), endpoint, path, plain: true });
                return Some(Place::Check);
            }
            (Place::Check, key) => return self.check().child(key),
            _ => return None,
        };
        // The collector refuses a key that stands twice; looking twice would only multiply aliases.
        (self.found.shapes[place as usize] == Shape::Absent).then_some(place)
    }

    fn check(&mut self) -> &mut Check {
        self.found.checks.last_mut().expect("one was added on the way in")
    }

    /// A mapping or a sequence that was not looked into.
    fn collection(mut self, shape: Shape) {
        if matches!(self.place, Place::Check | Place::CheckEndpoint | Place::CheckPath) {
            self.check().plain = false;
        }
        self.saw(shape);
    }

    /// A value that is neither a mapping, a sequence nor null.
    fn scalar(mut self, text: Option<&str>) {
        let plain = text.filter(|text| text.len() <= ID_LIMIT && !text.contains('$')).map(str::to_owned);
        match self.place {
            Place::Check => self.check().plain = false,
            Place::CheckEndpoint => self.check().endpoint = plain,
            Place::CheckPath => self.check().path = plain,
            Place::Name => self.found.name = text.filter(|text| text.len() <= ID_LIMIT).map(str::to_owned),
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
            Place::Enabled | Place::Resource | Place::CheckEndpoint | Place::CheckPath => {
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
            // The collector takes a null as an unset key, except here, where nobody knows.
            Place::CheckEndpoint | Place::CheckPath => self.check().plain = false,
            Place::Name => self.found.name = None,
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
