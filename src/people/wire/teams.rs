//! Teams as clients write and see them.

use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::domain::Principal;
use crate::auth::domain::Role;
use crate::auth::policy::ReadTeams;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::{Instant, Money, MoneyInput, MoneyPatch, MoneyPatchInput, Patch, PrincipalId, Set, TeamId};
use crate::people::domain::{Description, Member, NewTeam, Team, TeamChange, TeamName};

/// A team to be made.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = NewTeam, example = json!({ "name": "First line", "description": "Whatever comes in, comes in here." }))]
pub struct NewTeamBody {
    /// What the team is called; no other team is called so.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    pub name: TeamName,
    /// What the team is for: at most 2000 bytes of UTF-8.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 2000, nullable = false)]
    pub description: Option<Description>,
    /// What an hour of work on the team's tickets costs, by agents without a rate of their own.
    #[deserr(default)]
    #[schema(value_type = Option<MoneyInput>)]
    pub hourly_rate: Option<Money>,
}

impl From<NewTeamBody> for NewTeam {
    fn from(body: NewTeamBody) -> Self {
        let NewTeamBody { name, description, hourly_rate } = body;
        Self { name, description, hourly_rate }
    }
}

/// A JSON merge patch (RFC 7396) of a team: what is not mentioned stays, null empties.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "description": "Printers, and only printers." }))]
pub struct TeamPatch {
    /// What the team is called; no other team is called so.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, nullable = false)]
    pub name: Set<TeamName>,
    /// What the team is for: at most 2000 bytes of UTF-8.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 2000)]
    pub description: Patch<Description>,
    /// What an hour of work on the team's tickets costs from now on; null for nothing of its own. Work that was entered
    /// before keeps its cost.
    #[deserr(default)]
    #[schema(value_type = Option<MoneyPatchInput>)]
    pub hourly_rate: Patch<MoneyPatch>,
}

impl From<TeamPatch> for TeamChange {
    fn from(patch: TeamPatch) -> Self {
        let TeamPatch { name, description, hourly_rate } = patch;
        Self { name: name.0, description, hourly_rate }
    }
}

/// A team: a queue of tickets and its members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Team, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000abcd", "name": "First line", "description": "Whatever comes in, comes in here.",
    "hourly_rate": null, "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
}))]
pub struct TeamBody {
    /// The team's id.
    pub id: TeamId,
    /// What the team is called.
    pub name: String,
    /// What the team is for; empty when nobody has said.
    pub description: String,
    /// What an hour of work on the team's tickets costs, by agents without a rate of their own; null when that is up to
    /// the service.
    #[schema(required)]
    pub hourly_rate: Option<Money>,
    /// When the team was made.
    pub created_at: Instant,
    /// When the team was last changed; coming and going members do not count.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    pub version: i64,
}

impl From<Team> for TeamBody {
    fn from(team: Team) -> Self {
        let Team { id, name, description, hourly_rate, created_at, updated_at, version } = team;
        Self { id, name, description, hourly_rate, created_at, updated_at, version }
    }
}

impl Resource for TeamBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadTeams>()
    }
}

/// Somebody in a team.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamMember, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "name": "Grace Hopper", "role": "agent", "active": true,
}))]
pub struct MemberBody {
    /// The person's id.
    pub id: PrincipalId,
    /// What the person is called.
    pub name: String,
    /// What the person is at the counter.
    pub role: Role,
    /// Whether the person may use this service.
    pub active: bool,
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        let Member { id, name, role, active } = member;
        Self { id, name, role, active }
    }
}

impl ListItem for TeamBody {}
impl ListItem for MemberBody {}
