//! The description of otelet in packages.

/// In one line.
pub const SUMMARY: &str = "keeps an OpenTelemetry Collector running on its newest good config";

/// In a few.
pub const DESCRIPTION: &str = "\
otelet is a very small agent for hosts where memory, bandwidth and visits are
scarce. It fetches the configuration of an OpenTelemetry Collector from a URL
or a file, has the Collector validate it, runs the Collector on it, watches
it, and goes back to the last good configuration when a new one fails.

The Collector is not part of this package: otelcol-contrib, otelcol or another
distribution has to be installed beside it.";

/// The contact. There is no address yet; .invalid says so (RFC 2606).
pub const MAINTAINER: &str = "The otelet maintainers <maintainers@otelet.invalid>";

/// The licence, as SPDX writes it.
pub const LICENSE: &str = "Apache-2.0";
