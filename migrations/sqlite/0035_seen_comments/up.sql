-- The comments of a ticket with who may see them, so that those are counted and the last one is found without reading them.
DROP INDEX comments_by_ticket;
CREATE INDEX comments_by_ticket ON comments (ticket_id, id, visibility);
