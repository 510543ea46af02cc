//! The identity of the host, as resource attributes.

/// The host's resource attributes, named by OpenTelemetry's semantic conventions. An unknown one is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostIdentity {
    /// `host.name`
    pub name: String,
    /// `host.id`: the machine id.
    pub id: String,
    /// `os.type`: linux, windows.
    pub os_type: String,
    /// `os.version`, with the distribution's name.
    pub os_version: String,
    /// `host.arch`: amd64, arm64, arm32.
    pub arch: String,
}
