//! Windows tells windows and services of a set clock, not the wait of a program. So it is noticed with the next wake-up.

use std::io;

/// Does nothing: the agent compares its clocks at each wake-up, which comes within seconds.
///
/// # Errors
///
/// None.
pub async fn watch_clock(_set: impl FnMut()) -> io::Result<()> {
    Ok(())
}
