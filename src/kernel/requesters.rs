//! What requesters may set of their tickets, and what they are shown of the people behind the counter: settings.

use super::PrincipalId;
use super::words::words;

words! {
    /// A field of a ticket that policies go by, so that it buys a faster promise.
    pub enum RequesterField {
        /// How urgent it is.
        Priority = "priority",
        /// What kind of thing it is.
        Type = "type",
        /// How it was reported.
        Channel = "channel",
        /// The queue that it is in.
        Team = "team_id",
        /// Its labels.
        Tags = "tags",
    }
}

words! {
    /// How other people are named to requesters.
    #[derive(Default)]
    pub enum AgentNames {
        /// By their names.
        #[default]
        Full = "full",
        /// By the first word of them.
        First = "first",
        /// By nothing of them.
        Hidden = "hidden",
    }
}

/// What those behind the counter are called whose names are hidden.
const NAMELESS: &str = "Helpdesk";

/// What requesters may set, and what they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequesterRules {
    /// What they may set of their tickets, besides what is always theirs.
    pub may_set: Vec<RequesterField>,
    /// How others are named to them.
    pub agent_names: AgentNames,
    /// Whether they are not told what policies are called.
    pub hides_policies: bool,
}

/// How people are named to somebody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NamesShown {
    style: AgentNames,
    own: Option<PrincipalId>,
}

impl NamesShown {
    /// To the requester `own`: others in this `style`.
    pub fn to_requester(own: PrincipalId, style: AgentNames) -> Self {
        Self { style, own: Some(own) }
    }

    /// In which style others are named.
    pub fn style(self) -> AgentNames {
        self.style
    }

    /// Whether all are named by their names.
    pub fn is_full(self) -> bool {
        self.style == AgentNames::Full
    }

    /// What `id` is called to them, whose name is `name`.
    pub fn name(self, id: PrincipalId, name: String) -> String {
        match self.style {
            _ if self.own == Some(id) => name,
            AgentNames::Full => name,
            AgentNames::First => name.split_whitespace().next().unwrap_or(NAMELESS).to_owned(),
            AgentNames::Hidden => NAMELESS.to_owned(),
        }
    }
}
