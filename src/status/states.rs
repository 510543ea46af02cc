//! The states that `status.json` names. The words stand here, and everybody else has the enums.

use std::fmt;

use serde::{Deserialize, Serialize};

use otelet_core::decide;

/// Makes an enum of states, each with its word in `status.json`. A word of another version of otelet is read as `Unknown`.
macro_rules! states {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $word)] $variant,)*
            /// Written by another version of otelet.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl $name {
            /// The word in `status.json`.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown => "unknown",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

states! {
    /// The state of the agent.
    AgentState {
        /// It supervises.
        #[default]
        Running = "running",
        /// It was asked to stop.
        Stopping = "stopping",
        /// It has stopped in order.
        Stopped = "stopped",
        /// It was killed: written by nobody, and seen by those who read.
        Gone = "gone",
        /// It is `otelet validate`, which starts nothing.
        Validating = "validating",
    }
}

states! {
    /// The state of the collector.
    CollectorState {
        /// There is no config to run.
        #[default]
        Idle = "idle",
        /// It cannot be started.
        Held = "held",
        /// It is started again after a while.
        Waiting = "waiting",
        /// It is being started.
        Starting = "starting",
        /// It runs.
        Up = "up",
        /// It was asked to end.
        Stopping = "stopping",
    }
}

states! {
    /// The state of the config received last, in OpAMP's words.
    RemoteConfigStatus {
        /// Nothing was ever received.
        #[default]
        Unset = "unset",
        /// It is being checked or tried.
        Applying = "applying",
        /// It runs and has survived its probation.
        Applied = "applied",
        /// It does not run, for a reason.
        Failed = "failed",
    }
}

impl From<decide::CollectorState> for CollectorState {
    fn from(state: decide::CollectorState) -> Self {
        match state {
            decide::CollectorState::Idle => Self::Idle,
            decide::CollectorState::Held => Self::Held,
            decide::CollectorState::Waiting => Self::Waiting,
            decide::CollectorState::Starting => Self::Starting,
            decide::CollectorState::Up => Self::Up,
            decide::CollectorState::Stopping => Self::Stopping,
        }
    }
}

impl From<decide::RemoteConfigStatus> for RemoteConfigStatus {
    fn from(status: decide::RemoteConfigStatus) -> Self {
        match status {
            decide::RemoteConfigStatus::Unset => Self::Unset,
            decide::RemoteConfigStatus::Applying => Self::Applying,
            decide::RemoteConfigStatus::Applied => Self::Applied,
            decide::RemoteConfigStatus::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_its_word_in_json_and_a_word_of_later_is_unknown() {
        assert_eq!(serde_json::to_string(&CollectorState::Held).unwrap(), "\"held\"");
        assert_eq!(serde_json::from_str::<RemoteConfigStatus>("\"applying\"").unwrap(), RemoteConfigStatus::Applying);
        assert_eq!(AgentState::Stopping.to_string(), "stopping");
        assert_eq!(serde_json::from_str::<AgentState>("\"upgrading\"").unwrap(), AgentState::Unknown);
    }
}
