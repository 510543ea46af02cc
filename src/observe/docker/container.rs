//! What is told of every container: its id, name and image, cut to bounded lengths.

use otelet_core::telemetry::Attributes;

/// The most containers that are looked at; the rest are counted.
pub(super) const MOST_CONTAINERS: usize = 128;

/// The labels by which Compose says what a container is, in the order in which they are given.
pub(super) const COMPOSE_LABELS: [&str; 2] = ["com.docker.compose.project", "com.docker.compose.service"];

/// The container in the words of OpenTelemetry.
pub(super) fn identity(id: &str, name: &str, image: &str) -> Attributes {
    vec![
        ("container.id".into(), clip(id, 80).to_owned().into()),
        ("container.name".into(), clip(name, 255).to_owned().into()),
        ("container.image.name".into(), clip(image, 255).to_owned().into()),
    ]
}

/// As the engine's own client shows ids.
pub(super) fn short(id: &str) -> &str {
    clip(id, 12)
}

/// The start of a text that has no more than so many bytes.
pub(super) fn clip(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
