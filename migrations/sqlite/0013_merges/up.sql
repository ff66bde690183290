-- Parts of the index of words are merged by whoever puts words into it, a little each time. FTS5 by itself does so for
-- hundreds of pages at once, and who writes meanwhile waits.
INSERT INTO ticket_words (ticket_words, rank) VALUES ('automerge', 0);
