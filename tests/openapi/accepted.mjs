// What breaks clients of the document that is compared with, and was decided all the same: no version with it is out. Each is named in
// CHANGELOG.md. One that is found no more is an error, so that this list is emptied when a document is released.
export const accepted = [
  {
    why: "Parameters of several values are arrays in the document; on the wire they are as before.",
    what: /^(add|replace|remove) paths \/ \S+ \/ get \/ parameters \/ \d+ \/ (schema \/ \w+|explode|style)$/,
  },
  {
    why: "The description of a password stands beside its type, and not within it.",
    what: /^remove paths \/ \/v1\/users\S* \/ \w+ \/ requestBody \/ .* \/ password \/ oneOf \/ 0 \/ allOf \/ \d$/,
  },
  {
    why: "The words of grant_type stand in the form itself.",
    what: /^add paths \/ \/v1\/auth\/token \/ post \/ requestBody \/ .* \/ grant_type \/ type$/,
  },
  {
    why: "Reports are grouped by one thing or two, and a group is an object by what it is grouped by.",
    what: /^(add|replace|remove) paths \/ \/v1\/metrics\/(backlog|summary|timeseries) \/ get \/ (parameters \/ \d+ \/ schema \/ enum \/ \d|responses \/ 200 \/ .* \/ (group_by \/ oneOf \/ 1 \/ (type|items)|key( \/ oneOf \/ 1 \/ type)?|groups \/ items \/ allOf \/ \d \/ required \/ \d))$/,
  },
  {
    why: "Times are described anew, since all of them have one width; a step of a timeseries still has both of its own.",
    what: /^remove paths \/ \/v1\/metrics\/timeseries \/ get \/ responses \/ 200 \/ .* \/ points \/ items \/ allOf \/ 2 \/ (properties \/ (from|to)|required \/ [01])$/,
  },
  {
    why: "A list of tickets is of tickets or, with view=summary, of their summaries.",
    what: /^(add|remove) paths \/ \/v1\/tickets \/ get \/ responses \/ 200 \/ .* \/ oneOf \/ (0 \/ (properties|required) \/ \w+|1)$/,
  },
  {
    why: "A ticket comes with what include asks for: it is all of a ticket, and parts.",
    what: /^remove paths \/ \/v1\/tickets\/\{id\} \/ get \/ responses \/ 200 \/ content \/ application\/json \/ schema \/ type$/,
  },
  {
    why: "A person is named by id or `me` when a ticket is written.",
    what: /^(add|replace|remove) paths \/ \/v1\/tickets(\/\{id\})? \/ (post|patch) \/ requestBody \/ .* \/ (assignee|requester)_id \/ oneOf \/ 1( \/ (type|pattern))?$/,
  },
  {
    why: "A tag does not begin with `!`, by which a filter means all others.",
    what: /^replace paths \/ \/v1\/tickets(\/\{id\})? \/ (post|patch) \/ requestBody \/ .* \/ tags \/ items \/ pattern$/,
  },
  {
    why: "The addition of a comment is answered with the comment or, with `ticket`, with both; it can be refused for more reasons.",
    what: /^(add|remove|replace) paths \/ \/v1\/tickets\/\{id\}\/comments \/ post \/ responses \/ (201 \/ .* \/ oneOf \/ (0 \/ (properties|required) \/ \w+|1)|409 \/ .* \/ example \/ type)$/,
  },
  {
    why: "What policies are called can be hidden from requesters, and is null for them then.",
    what: /^replace paths \/ \/v1\/tickets\/\{id\}\/sla \/ get \/ .* \/ (policy_name|policy \/ .* \/ name) \/ type$/,
  },
  {
    why: "A token can be limited to sending alerts, by one more scope.",
    what: /^replace paths \/ \/v1\/auth\/token \/ post \/ requestBody \/ .* \/ scope \/ pattern$/,
  },
];
