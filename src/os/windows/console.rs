//! The console on which the agent was started, if any.

use std::sync::OnceLock;

use windows_sys::Win32::System::Console::GetConsoleCP;

/// Whether the agent has a terminal. Without one, it only gets the console events that it sends to its own collector.
static HAS_TERMINAL: OnceLock<bool> = OnceLock::new();

/// Whether the agent was started on a console. The first answer is kept, since the agent enters consoles of its
/// children.
pub(super) fn has_terminal() -> bool {
    // SAFETY: no arguments; 0 without a console.
    *HAS_TERMINAL.get_or_init(|| unsafe { GetConsoleCP() } != 0)
}
