//! The attributes that every record and point of a container carries: id, name and image, cut to bounded lengths.

use otelet_core::telemetry::Attributes;

/// The most containers in one scan; the rest are only counted.
pub(super) const MOST_CONTAINERS: usize = 128;

/// The labels that Compose puts on a container. Points list them in this order.
pub(super) const COMPOSE_LABELS: [&str; 2] = ["com.docker.compose.project", "com.docker.compose.service"];

/// The container's attributes, named by OpenTelemetry's conventions.
pub(super) fn identity(id: &str, name: &str, image: &str) -> Attributes {
    vec![
        ("container.id".into(), clip(id, 80).to_owned().into()),
        ("container.name".into(), clip(name, 255).to_owned().into()),
        ("container.image.name".into(), clip(image, 255).to_owned().into()),
    ]
}

/// An id as short as the engine's own client shows it.
pub(super) fn short(id: &str) -> &str {
    clip(id, 12)
}

/// The start of a text, cut to at most `most` bytes.
pub(super) fn clip(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
