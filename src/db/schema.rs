//! The tables as diesel sees them, for both engines. `tests/api/house.rs` holds the two migrations against each other.
#![expect(missing_docs, reason = "the columns are described where they are made, in migrations")]

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    principals (id) {
        id -> Guid,
        kind -> Text,
        name -> Text,
        email -> Nullable<Text>,
        role -> Nullable<Text>,
        password_hash -> Nullable<Text>,
        issuer -> Nullable<Text>,
        subject -> Nullable<Text>,
        scopes -> Nullable<Text>,
        secret_hash -> Nullable<Text>,
        active -> Bool,
        anonymised_at -> Nullable<Moment>,
        created_at -> Moment,
        updated_at -> Moment,
        version -> BigInt,
        hourly_rate_minor -> Nullable<BigInt>,
        hourly_rate_currency -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    job_leases (name) {
        name -> Text,
        holder -> Guid,
        until -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    refresh_tokens (token_hash) {
        token_hash -> Text,
        family_id -> Guid,
        principal_id -> Guid,
        scopes -> Nullable<Text>,
        created_at -> Moment,
        expires_at -> Moment,
        used_at -> Nullable<Moment>,
        revoked_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    teams (id) {
        id -> Guid,
        name -> Text,
        description -> Text,
        created_at -> Moment,
        updated_at -> Moment,
        version -> BigInt,
        hourly_rate_minor -> Nullable<BigInt>,
        hourly_rate_currency -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    team_members (team_id, principal_id) {
        team_id -> Guid,
        principal_id -> Guid,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    tickets (number) {
        number -> BigInt,
        id -> Guid,
        subject -> Text,
        description -> Text,
        status -> Text,
        priority -> Text,
        priority_rank -> Integer,
        #[sql_name = "type"]
        kind -> Text,
        channel -> Text,
        team_id -> Nullable<Guid>,
        assignee_id -> Nullable<Guid>,
        requester_id -> Nullable<Guid>,
        created_by_id -> Guid,
        external_id -> Nullable<Text>,
        follow_up_of -> Nullable<Guid>,
        tags -> JsonDocument,
        custom_fields -> JsonDocument,
        created_at -> Moment,
        updated_at -> Moment,
        reported_at -> Moment,
        started_at -> Nullable<Moment>,
        first_replied_at -> Nullable<Moment>,
        resolved_at -> Nullable<Moment>,
        closed_at -> Nullable<Moment>,
        reopen_count -> Integer,
        agent_comments -> Integer,
        version -> BigInt,
        followed_edit -> BigInt,
        internal_at -> Nullable<Moment>,
        activity_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Moment;
    ticket_tags (tag, created_at, ticket_number) {
        tag -> Text,
        created_at -> Moment,
        ticket_number -> BigInt,
    }
}

// The words of tickets and comments, on PostgreSQL and on SQLite.
diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Lexemes;
    ticket_lexemes (ticket_number, ordinal) {
        ticket_number -> BigInt,
        ordinal -> BigInt,
        words -> Lexemes,
    }
}
diesel::table! {
    use diesel::sql_types::*;
    ticket_words (rowid) {
        rowid -> BigInt,
        subject -> Text,
        body -> Text,
        comments -> Text,
        internal -> Text,
    }
}

diesel::table! {
    words_marks (id) {
        id -> Integer,
        format -> Integer,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    words_backlog (until_number) {
        until_number -> BigInt,
        from_number -> BigInt,
        next_comment -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    comments (id) {
        id -> Guid,
        ticket_id -> Guid,
        author_id -> Guid,
        visibility -> Text,
        body -> Text,
        created_at -> Moment,
        edited_at -> Nullable<Moment>,
        redacted_at -> Nullable<Moment>,
        version -> BigInt,
        number -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    time_entries (id) {
        id -> Guid,
        ticket_number -> BigInt,
        agent_id -> Guid,
        created_by_id -> Guid,
        work_s -> Integer,
        rate_minor -> Nullable<BigInt>,
        rate_currency -> Nullable<Text>,
        rate_of -> Nullable<Text>,
        cost_minor -> Nullable<BigInt>,
        cost_currency -> Nullable<Text>,
        note -> Nullable<Text>,
        worked_at -> Moment,
        created_at -> Moment,
        version -> BigInt,
        ticket_groups -> JsonDocument,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    events (id) {
        id -> Guid,
        ticket_id -> Nullable<Guid>,
        at -> Moment,
        actor_id -> Nullable<Guid>,
        kind -> Text,
        visibility -> Text,
        comment_id -> Nullable<Guid>,
        changes -> JsonDocument,
        number -> BigInt,
        edited_b -> BigInt,
        ticket_version -> Nullable<BigInt>,
        subject_kind -> Nullable<Text>,
        subject_id -> Nullable<Guid>,
        origin -> Text,
        sla -> Nullable<JsonDocument>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};

    changes (position) {
        position -> BigInt,
        event_id -> Guid,
        at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;

    change_inbox (arrival) {
        arrival -> BigInt,
        event_id -> Guid,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    idempotency_keys (principal_id, key) {
        principal_id -> Guid,
        key -> Text,
        fingerprint -> Text,
        status -> Integer,
        headers -> JsonDocument,
        body -> Text,
        created_at -> Moment,
        has_subjects -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;
    idempotency_subjects (principal_id, key, subject_id) {
        principal_id -> Guid,
        key -> Text,
        subject_id -> Guid,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;
    configuration (id) {
        id -> Integer,
        generation -> Guid,
        edit -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    configuration_edits (number) {
        number -> BigInt,
        generation -> Guid,
        edited_at -> Moment,
        contents -> JsonDocument,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    calendars (id) {
        id -> Guid,
        name -> Text,
        is_default -> Bool,
        definition -> JsonDocument,
        created_at -> Moment,
        updated_at -> Moment,
        deleted_at -> Nullable<Moment>,
        version -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    calendar_versions (calendar_id, version) {
        calendar_id -> Guid,
        version -> BigInt,
        definition -> JsonDocument,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    sla_policies (id) {
        id -> Guid,
        name -> Text,
        position -> Integer,
        calendar_id -> Nullable<Guid>,
        definition -> JsonDocument,
        created_at -> Moment,
        updated_at -> Moment,
        deleted_at -> Nullable<Moment>,
        version -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    sla_policy_versions (policy_id, version) {
        policy_id -> Guid,
        version -> BigInt,
        definition -> JsonDocument,
        created_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    ticket_clocks (ticket_number) {
        ticket_number -> BigInt,
        policy_id -> Nullable<Guid>,
        timeline -> JsonDocument,
        clocks -> JsonDocument,
        due_at -> Moment,
        breach_at -> Nullable<Moment>,
        last_resolved_at -> Nullable<Moment>,
        response_business_s -> Nullable<BigInt>,
        first_reply_business_s -> Nullable<BigInt>,
        service_s -> Nullable<BigInt>,
        service_business_s -> Nullable<BigInt>,
        resolution_s -> Nullable<BigInt>,
        resolution_business_s -> Nullable<BigInt>,
        response_breach_at -> Nullable<Moment>,
        first_reply_breach_at -> Nullable<Moment>,
        service_breach_at -> Nullable<Moment>,
        created_at -> Moment,
        notice_at -> Nullable<Moment>,
        promised_from -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    renamed_people (principal_id) {
        principal_id -> Guid,
        renamed_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Moment;
    sla_notices (ticket_number, target, kind, due_at) {
        ticket_number -> BigInt,
        target -> Text,
        kind -> Text,
        due_at -> Moment,
        told_at -> Nullable<Moment>,
    }
}

diesel::table! {
    tallies (series, labels, quarter) {
        series -> Text,
        labels -> Text,
        quarter -> BigInt,
        n -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid};
    tally_deltas (id) {
        id -> Guid,
        deltas -> JsonDocument,
        facts -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    facts (id) {
        id -> BigInt,
        at -> Moment,
        ticket_number -> BigInt,
        kind -> Text,
        n -> Integer,
        priority -> Text,
        #[sql_name = "type"]
        ticket_type -> Text,
        channel -> Text,
        team_id -> Nullable<Guid>,
        policy_id -> Nullable<Guid>,
        assignee_id -> Nullable<Guid>,
        tags -> JsonDocument,
        target -> Nullable<Text>,
        calendar_s -> Nullable<BigInt>,
        business_s -> Nullable<BigInt>,
        resolution_s -> Nullable<BigInt>,
        resolution_business_s -> Nullable<BigInt>,
        is_first_contact -> Bool,
        is_by_alert -> Bool,
        worker_id -> Nullable<Guid>,
        work_s -> Nullable<BigInt>,
        cost_minor -> Nullable<BigInt>,
        cost_currency -> Nullable<Text>,
    }
}

diesel::table! {
    cell_marks (id) {
        id -> Integer,
        last_fact -> BigInt,
        built_to -> BigInt,
        stale -> Bool,
        format -> Integer,
    }
}

diesel::table! {
    rebuilds (id) {
        id -> Integer,
        stage -> Nullable<Text>,
        recounts -> BigInt,
    }
}

diesel::table! {
    cells (axis, level, start, key) {
        axis -> Text,
        level -> Text,
        start -> BigInt,
        key -> Text,
        counts -> Binary,
        durations -> Binary,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    webhooks (id) {
        id -> Guid,
        name -> Text,
        principal_id -> Guid,
        url -> Text,
        types -> JsonDocument,
        condition -> JsonDocument,
        include_ticket -> Bool,
        secret -> Text,
        previous_secret -> Nullable<Text>,
        previous_until -> Nullable<Moment>,
        state -> Text,
        disabled_reason -> Nullable<Text>,
        created_at -> Moment,
        updated_at -> Moment,
        version -> BigInt,
        deleted_at -> Nullable<Moment>,
        position -> BigInt,
        failures -> Integer,
        failing_since -> Nullable<Moment>,
        rests_until -> Nullable<Moment>,
        leased_by -> Nullable<Guid>,
        leased_until -> Nullable<Moment>,
        include_imported -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    webhook_deliveries (webhook_id, position) {
        webhook_id -> Guid,
        position -> BigInt,
        event_id -> Guid,
        ticket_number -> Nullable<BigInt>,
        state -> Text,
        attempts -> Integer,
        due_at -> Moment,
        last_at -> Nullable<Moment>,
        last_status -> Nullable<Integer>,
        last_error -> Nullable<Text>,
        last_duration_ms -> Nullable<BigInt>,
        settled_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    files (id) {
        id -> Guid,
        uploaded_by_id -> Guid,
        ticket_number -> Nullable<BigInt>,
        comment_id -> Nullable<Guid>,
        name -> Text,
        media_type -> Text,
        inline_type -> Nullable<Text>,
        size_b -> BigInt,
        sha256 -> Binary,
        store_key -> Nullable<Text>,
        state -> Text,
        origin -> Text,
        created_at -> Moment,
        attached_at -> Nullable<Moment>,
        scan_at -> Moment,
        version -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, Moment};
    file_probes (instance_id) {
        instance_id -> Guid,
        written_at -> Moment,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{Guid, JsonDocument, Moment};
    ticket_views (id) {
        id -> Guid,
        owner_id -> Guid,
        team_id -> Nullable<Guid>,
        name -> Text,
        filter -> JsonDocument,
        sort -> Text,
        created_at -> Moment,
        updated_at -> Moment,
        version -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;
    person_words (role, word, principal_id) {
        role -> Text,
        word -> Text,
        principal_id -> Guid,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;
    person_words_backlog (id) {
        id -> Integer,
        behind_id -> Guid,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    alert_sources (id) {
        id -> Guid,
        name -> Text,
        principal_id -> Nullable<Guid>,
        team_id -> Nullable<Guid>,
        team_label -> Text,
        ticket_type -> Text,
        priorities -> JsonDocument,
        priority_default -> Text,
        group_by -> Text,
        subject_template -> Nullable<Text>,
        requester_id -> Nullable<Guid>,
        on_resolve -> Text,
        reopen_within_s -> BigInt,
        backdate_max_s -> BigInt,
        enabled -> Bool,
        created_at -> Moment,
        updated_at -> Moment,
        version -> BigInt,
        deleted_at -> Nullable<Moment>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;
    alert_counts (source_id) {
        source_id -> Guid,
        firing -> BigInt,
        resolved -> BigInt,
        received_created -> BigInt,
        received_updated -> BigInt,
        received_reopened -> BigInt,
        received_resolved -> BigInt,
        received_unchanged -> BigInt,
        received_ignored -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::{JsonDocument, Guid, Moment};
    alerts (source_id, dedupe_key) {
        id -> Guid,
        source_id -> Guid,
        dedupe_key -> Text,
        ticket_number -> Nullable<BigInt>,
        state -> Text,
        starts_at -> Moment,
        ends_at -> Nullable<Moment>,
        last_seen_at -> Moment,
        times -> BigInt,
        severity -> Nullable<Text>,
        summary -> Text,
        labels -> JsonDocument,
        annotations -> JsonDocument,
        links -> JsonDocument,
        firing_count -> BigInt,
        truncated -> Bool,
        truncated_alerts -> BigInt,
        redacted -> Bool,
        own_to -> Nullable<BigInt>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::kernel::sql::Guid;
    imported (source, kind, external_id) {
        source -> Text,
        kind -> Text,
        external_id -> Text,
        principal_id -> Nullable<Guid>,
        ticket_number -> Nullable<BigInt>,
        entries -> BigInt,
        digest -> Text,
        trail -> BigInt,
    }
}

diesel::table! {
    #[sql_name = "__diesel_schema_migrations"]
    schema_migrations (version) {
        version -> Text,
    }
}

diesel::joinable!(alert_counts -> alert_sources (source_id));
diesel::joinable!(alerts -> alert_sources (source_id));
diesel::joinable!(alerts -> tickets (ticket_number));
diesel::joinable!(comments -> principals (author_id));
diesel::joinable!(changes -> events (event_id));
diesel::joinable!(events -> principals (actor_id));
diesel::joinable!(facts -> tickets (ticket_number));
diesel::joinable!(team_members -> principals (principal_id));
diesel::joinable!(team_members -> teams (team_id));
diesel::joinable!(ticket_clocks -> tickets (ticket_number));
diesel::joinable!(ticket_views -> principals (owner_id));
diesel::joinable!(tickets -> teams (team_id));
diesel::joinable!(sla_notices -> tickets (ticket_number));
diesel::joinable!(ticket_tags -> tickets (ticket_number));
diesel::joinable!(time_entries -> tickets (ticket_number));
diesel::joinable!(webhooks -> principals (principal_id));
diesel::joinable!(webhook_deliveries -> webhooks (webhook_id));
diesel::allow_tables_to_appear_in_same_query!(
    principals,
    refresh_tokens,
    teams,
    team_members,
    tickets,
    ticket_tags,
    ticket_views,
    comments,
    time_entries,
    events,
    changes,
    idempotency_keys,
    idempotency_subjects,
    calendars,
    calendar_versions,
    sla_policies,
    sla_policy_versions,
    ticket_clocks,
    sla_notices,
    facts,
    webhooks,
    webhook_deliveries,
    files,
    alert_sources,
    alert_counts,
    alerts,
);
