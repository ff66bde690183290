//! Full-text search: what is found, by whom, in which order, and that nothing else is told.

use diesel::{RunQueryDsl, SqliteConnection};
use reqwest::Method;
use serde_json::{Value, json};
use skranke::db::{DatabaseUrl, Roots};
use skranke::tickets::service::{index_later, index_waiting, move_activity_of_renamed};

use crate::on_both;
use crate::support::{Caller, Chance, Desk, Engine};

/// The query `q`, as it stands in an address.
fn asked(q: &str) -> String {
    let encoded: String = q.bytes().map(|b| format!("%{b:02X}")).collect();
    format!("/v1/tickets?q={encoded}")
}

/// The numbers of what `who` finds by `q`, over all pages.
async fn found(desk: &Desk, who: &Caller, q: &str) -> Vec<i64> {
    numbers(&desk.all(who, &format!("{}&sort=created_at", asked(q))).await)
}

fn numbers(items: &[Value]) -> Vec<i64> {
    items.iter().map(|item| item["number"].as_i64().unwrap()).collect()
}

async fn say(desk: &Desk, who: &Caller, number: i64, visibility: &str, body: &str) -> String {
    let path = format!("/v1/tickets/{number}/comments");
    let comment = json!({ "body": body, "visibility": visibility });
    let answer = desk.post(&path).by(who).json(&comment).expect(201).await;
    format!("{path}/{}", answer.body["id"].as_str().unwrap())
}

on_both! {
    async fn the_language_of_queries(desk) {
        let agent = desk.agent().await;
        for (subject, description, tags) in [
            ("The printer is on fire", "Smoke since 9:10.", json!(["second-floor"])),
            ("Printers out of paper", "No fire, on the contrary.", json!([])),
            ("Cannot print", "user@example.org says: don't.", json!(["printing"])),
            ("Coffee", "The machine (model X-200) is out.", json!([])),
        ] {
            desk.ticket(&agent, json!({ "subject": subject, "description": description, "tags": tags })).await;
        }
        say(desk, &agent, 4, "public", "It makes tea now, and fire.").await;
        for (q, hits) in [
            ("printer", vec![1]),
            ("PRINTER Fire", vec![1]),
            ("fire", vec![1, 2, 4]),
            ("fire out", vec![2, 4]),
            ("\"on fire\"", vec![1]),
            ("\"fire on\"", vec![2]),
            ("\"out of paper\" \"no fire\"", vec![2]),
            ("print*", vec![1, 2, 3]),
            ("pri*", vec![1, 2, 3]),
            ("pr*", vec![1, 2, 3]),
            ("p*", vec![]),
            ("printin*", vec![3]),
            ("\"out of pap*\"", vec![]),
            ("\"out of pap\"*", vec![2]),
            ("out-of-pap*", vec![2]),
            ("print* -\"printers\"", vec![1, 3]),
            ("print* -\"on fire\" -\"cannot\"", vec![2]),
            ("print* -\"on\"", vec![3]),
            ("-\"fire\"", vec![3]),
            ("-\"fire\" -\"cannot\"", vec![]),
            ("-\"on fire\"", vec![2, 3, 4]),
            ("-\"pri\"*", vec![4]),
            ("second", vec![1]),
            ("second-floor", vec![1]),
            ("floor-second", vec![]),
            ("\"floor smoke\"", vec![]),
            ("user@example.org", vec![3]),
            ("don't", vec![3]),
            ("x-200", vec![4]),
            ("out tea", vec![4]),
            ("\"out it\"", vec![]),
            ("coffee -\"tea\"", vec![]),
            ("coffee -tea", vec![4]),
            ("coffee --tea", vec![4]),
            ("nothing", vec![]),
            ("printer nothing", vec![]),
            ("fire OR coffee", vec![]),
            // Nothing is asked for, and everything passes.
            ("", vec![1, 2, 3, 4]),
            ("!? - \"\" *", vec![1, 2, 3, 4]),
        ] {
            assert_eq!(found(desk, &agent, q).await, hits, "{q}");
        }
    }

    async fn letters_of_all_kinds_are_found_with_and_without_their_marks(desk) {
        let agent = desk.agent().await;
        for (subject, queries) in [
            ("Blåbærsyltetøy på gulvet", vec!["blabaersyltetoy", "PÅ GULVET", "blåbær*"]),
            ("Größe der Straße", vec!["grosse STRASSE", "Große"]),
            ("Điện thoại bị hỏng", vec!["dien thoai", "\"BỊ HỎNG\"", "đi*"]),
            ("İstanbul'da ışık yok", vec!["istanbul isik", "ISTANBUL IŞIK"]),
            ("Ο Οδυσσεύς χάλασε", vec!["ΟΔΥΣΣΕΥΣ", "οδυσσευς χαλασε"]),
            ("Ёлка не работает", vec!["елка", "РАБОТАЕТ ёлка"]),
            ("プリンターが東京で壊れた", vec!["東京", "プリンター", "\"東京で\"", "壊れ"]),
            ("打印机着火了", vec!["打印机", "着火", "打印机 了"]),
            ("프린터가 고장났어요", vec!["프린터*", "고장났어요"]),
            ("الطابعة مُعَطَّلَة", vec!["معطلة", "الطابعة"]),
            ("המדפסת לֹא עובדת", vec!["לא", "עובדת המדפסת"]),
            ("प्रिंटर काम नहीं", vec!["प्रिंटर", "नहीं काम"]),
            ("เครื่องพิมพ์เสีย", vec!["พิมพ์", "เครื่อง"]),
            ("ﬁber ① ｆｕｌｌ", vec!["fiber", "1 full"]),
        ] {
            let number = desk.ticket(&agent, json!({ "subject": subject })).await["number"].as_i64().unwrap();
            for q in queries {
                assert_eq!(found(desk, &agent, q).await, [number], "{q} in {subject}");
            }
        }
        for q in ["京東", "火着", "प्रटर", "การ", "oysyltetblabaer"] {
            assert!(found(desk, &agent, q).await.is_empty(), "{q}");
        }
    }

    async fn odd_input_is_never_an_error(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "subject": "a' b\\ c:* \"d\" e" , "description": "x:1A, NOT (y & z) {subject}: \u{1}" })).await;
        let mut odd: Vec<String> = [
            "'", "''", "\\", "\\'", "\"", "\"\"\"", "*", "**", "a**", "a:*", "a:A", "'a':*", "a & b", "a | b", "!a", "a <-> b", "a <2> b", "(", ")", "((a",
            "NEAR(a b, 2)", "AND", "OR", "NOT", "a AND", "NOT a", "subject:a", "{subject}:a", "{", "-", "--", "-*", "-\"", "^a", "a^", "+a", "a+b", "a;b", "%", "_", "a_b",
            "$1", "?1", "?", ":x", "@x", "\u{1}", "\u{feff}", "\u{202e}a", "\u{301}", "\u{301}a", "🔥", "\u{fdfa}", "\u{10ffff}", "ﷺ*", "\u{d7a3}", "--a--", "-- ;",
            "\"a' b\"", "\"c: d\"*", "x:1A", "1A,2B", "\t\n", "%00", "a\"b\"c\"d", "rowid", "ticket_words", "a/*", "0", "-0", "\u{200b}", "\u{ad}",
        ].map(str::to_owned).to_vec();
        odd.extend(["a ".repeat(250), "-\"a\" ".repeat(100), "\"a\" ".repeat(125), "a-".repeat(250), "x".repeat(500), "ﷺ".repeat(500), "漢".repeat(500), "(".repeat(500), "a*".repeat(250)]);
        odd.push((0..120).map(|i| format!("w{i} ")).collect());
        let mut chance = Chance(crate::support::seed());
        let letters: Vec<char> = "ab'\"\\:*&|!<>()-{}^+,_ é漢\u{301}".chars().collect();
        for _ in 0..60 {
            let length = chance.below(30);
            odd.push((0..length).map(|_| *chance.of(&letters)).collect());
        }
        for q in odd {
            for sort in ["relevance", "-created_at"] {
                let path = format!("{}&sort={sort}", asked(&q));
                let answer = desk.get(&path).by(&agent).send().await;
                assert_eq!(answer.status, 200, "{q:?}: {}", answer.text());
            }
        }
        for q in ["a' b\\", "e \"b c d\"", "x:1A", "NOT subject"] {
            assert_eq!(found(desk, &agent, q).await, [1], "{q}");
        }
        let long = format!("/v1/tickets?q={}", "x".repeat(501));
        let refused = desk.get(&long).by(&agent).refused(400, "invalid_query").await;
        assert_eq!(refused.pointers(), ["q"]);
        assert!(refused.text().contains("at most 500 characters"), "{}", refused.text());
        assert_eq!(desk.get("/v1/tickets?sort=relevance").by(&agent).refused(400, "invalid_query").await.pointers(), ["sort"]);
        desk.get("/v1/tickets?q=a&sort=-relevance").by(&agent).refused(400, "invalid_query").await;
    }

    /// Texts that are as long as they may be, and odd, are stored and searched as far as is said.
    async fn long_and_odd_texts_are_indexed_without_errors(desk) {
        let agent = desk.agent().await;
        let lines: String = (0..9_000).map(|i| format!("n{i} ")).collect();
        let odd = "ﷺ".repeat(21_000);
        let hex = "0123456789abcdef".repeat(4_096);
        let wide: String = ('\u{4e00}'..).take(20_000).collect();
        let again = "again ".repeat(9_000);
        for description in [lines.as_str(), odd.as_str(), hex.as_str(), wide.as_str(), again.as_str(), "\u{1}\u{301}\u{fffd}"] {
            let number = desk.ticket(&agent, json!({ "subject": "Long", "description": description })).await["number"].as_i64().unwrap();
            for _ in 0..2 {
                say(desk, &agent, number, "public", description).await;
                say(desk, &agent, number, "internal", description).await;
            }
            desk.patch_ticket(&agent, &json!({ "id": number.to_string() }), json!({ "subject": "Still long" })).await;
        }
        assert_eq!(found(desk, &agent, "long").await, [1, 2, 3, 4, 5, 6]);
        assert_eq!(found(desk, &agent, "n0 n5000").await, [1]);
        assert_eq!(found(desk, &agent, "\"n5997 n5998\"").await, [1]);
        assert!(found(desk, &agent, "n8999").await.is_empty());
        assert_eq!(found(desk, &agent, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-not").await, Vec::<i64>::new());
        assert_eq!(found(desk, &agent, &"0123456789abcdef".repeat(5)).await, [3]);
        assert_eq!(found(desk, &agent, "\"again again again\"").await, [5]);
        assert_eq!(found(desk, &agent, "一丁丂").await, [4]);
    }

    async fn internal_comments_are_found_by_those_who_may_read_them_and_move_nothing_for_others(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let team = desk.account("tickets:read comments:read").await;
        let inside = desk.account("tickets:read comments:read internal:read").await;
        let outside = desk.account("tickets:read internal:read").await;
        let narrowed = desk.narrowed(&agent, "tickets:read comments:read");
        let monitor = desk.account("metrics:read").await;
        for _ in 0..3 {
            desk.ticket(&ada, json!({ "subject": "Printer", "description": "It smokes." })).await;
            desk.clock.pass_s(1);
        }
        say(desk, &agent, 2, "public", "Have you tried water?").await;
        let queries = ["printer", "hunter2", "printer hunter2", "-\"hunter2\"", "printer -\"hunter2\"", "hunt*", "\"water hunter2\"", "\"smokes hunter2\"", "water", "-\"water\"", "wa*", "printer water"];
        let seen = async |who: &Caller| {
            let mut all = Vec::new();
            for q in queries {
                for sort in ["relevance", "-created_at", "updated_at", "priority", "due_at"] {
                    for limit in [1, 50] {
                        all.push(numbers(&desk.all(who, &format!("{}&sort={sort}&limit={limit}", asked(q))).await));
                    }
                }
            }
            all
        };
        let mut before = Vec::new();
        for who in [&ada, &team, &outside, &narrowed] {
            before.push(seen(who).await);
        }
        let note = say(desk, &agent, 1, "internal", "His password is hunter2. Printer printer printer, water!").await;
        say(desk, &agent, 3, "internal", &"hunter2 water ".repeat(3_000)).await;
        for (who, before) in [&ada, &team, &outside, &narrowed].into_iter().zip(before) {
            assert_eq!(seen(who).await, before);
        }
        for who in [&agent, &inside] {
            assert_eq!(found(desk, who, "hunter2").await, [1, 3]);
            assert_eq!(found(desk, who, "smokes hunter2 password").await, [1]);
            assert_eq!(found(desk, who, "printer -\"hunter2\"").await, [2]);
            assert_eq!(found(desk, who, "water").await, [1, 2, 3]);
        }
        assert_eq!(found(desk, &ada, "water").await, [2]);
        // Comments are looked into by those alone who may read comments.
        assert!(found(desk, &outside, "water").await.is_empty());
        assert_eq!(found(desk, &outside, "-\"water\"").await, [1, 2, 3]);

        let counted = async |who: &Caller, q: &str| {
            let path = asked(q).replace("/v1/tickets?", "/v1/metrics/summary?from=2026-03-01T00:00:00.000000Z&to=2026-03-04T00:00:00.000000Z&");
            desk.get(&path).by(who).expect(200).await.body["total"]["tickets"]["created"].clone()
        };
        let script = desk.account("metrics:read tickets:read comments:read").await;
        let counts = (counted(&agent, "hunter2").await, counted(&script, "hunter2").await, counted(&script, "water").await, counted(&script, "-\"hunter2\"").await);
        assert_eq!(counts, (json!(2), json!(0), json!(1), json!(3)));
        desk.get("/v1/metrics/summary?from=2026-03-01T00:00:00.000000Z&to=2026-03-04T00:00:00.000000Z&q=water").by(&monitor).refused(403, "insufficient_scope").await;
        desk.get("/v1/metrics/backlog?q=water").by(&monitor).refused(403, "insufficient_scope").await;

        // What is redacted is gone.
        let admin = desk.admin().await;
        desk.delete(&note).by(&admin).expect(204).await;
        assert_eq!(found(desk, &agent, "hunter2").await, [3]);
        assert!(found(desk, &agent, "password").await.is_empty());
    }

    async fn requesters_find_their_own_alone(desk) {
        let (ada, grace, agent) = (desk.requester().await, desk.requester().await, desk.agent().await);
        for who in [&ada, &grace, &ada, &grace] {
            desk.ticket(who, json!({ "subject": "Printer" })).await;
        }
        for sort in ["relevance", "created_at"] {
            assert_eq!(numbers(&desk.all(&ada, &format!("/v1/tickets?q=printer&sort={sort}&limit=1")).await).len(), 2);
        }
        assert_eq!(found(desk, &ada, "printer").await, [1, 3]);
        assert_eq!(found(desk, &ada, "prin*").await, [1, 3]);
        assert_eq!(found(desk, &ada, "-\"paper\"").await, [1, 3]);
        assert_eq!(found(desk, &agent, "printer").await, [1, 2, 3, 4]);
        let path = format!("/v1/tickets?q=printer&requester_id={}", grace.id);
        assert!(desk.all(&ada, &path).await.is_empty());
    }

    async fn what_is_changed_is_found_by_what_it_is_now(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({ "subject": "Alpha", "description": "Beta", "tags": ["gamma"] })).await;
        let comment = say(desk, &agent, 1, "public", "Delta").await;
        assert_eq!(found(desk, &agent, "alpha beta gamma delta").await, [1]);
        let subject = json!({ "subject": "Epsilon" });
        for (patch, gone, new) in [
            (subject, "alpha", "epsilon"),
            (json!({ "description": "Zeta" }), "beta", "zeta"),
            (json!({ "tags": ["eta"] }), "gamma", "eta"),
        ] {
            desk.patch_ticket(&agent, &ticket, patch).await;
            assert!(found(desk, &agent, gone).await.is_empty(), "{gone}");
            assert_eq!(found(desk, &agent, &format!("{new} delta")).await, [1], "{new}");
        }
        desk.patch_ticket(&agent, &ticket, json!({ "tags": null, "status": "open" })).await;
        assert!(found(desk, &agent, "eta").await.is_empty());
        desk.patch(&comment).by(&agent).json(&json!({ "body": "Theta" })).expect(200).await;
        assert!(found(desk, &agent, "delta").await.is_empty());
        assert_eq!(found(desk, &agent, "theta epsilon zeta").await, [1]);
        for status in ["resolved", "closed"] {
            desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
        }
        assert_eq!(found(desk, &agent, "theta epsilon").await, [1]);
        // Also on a closed ticket.
        let admin = desk.admin().await;
        desk.delete(&comment).by(&admin).expect(204).await;
        assert!(found(desk, &agent, "theta").await.is_empty());
        assert_eq!(found(desk, &agent, "epsilon zeta").await, [1]);
    }

    /// What people paste finds the ticket that has it, whatever stands in it.
    async fn lines_that_were_pasted_find_what_has_them(desk) {
        let agent = desk.agent().await;
        let lines = [
            "VPN exit code -1", "git push --force", "rm -rf /tmp/*", "Error: \"disk full\" on /dev/sda1", "SELECT * FROM users WHERE id = -7;",
            "curl -X POST -H 'accept: application/json'", "10.0.0.5 -> 10.0.0.9:443 refused", "-- Please reply above this line --", "C:\\Users\\ada> dir /s",
            "0x80070005 (E_ACCESSDENIED)", "kernel: [12345.678] oom-killer invoked", "user@host:~$ sudo reboot", "Traceback (most recent call last):",
            "  File \"app.py\", line 3, in <module>", "ssh -p 2222 -o StrictHostKeyChecking=no", "AND OR NOT NEAR(a, b)", "<div class=\"x\">&nbsp;</div>",
            "{\"level\":\"warn\",\"msg\":\"retry -3\"}", "ORA-00942: table or view does not exist", "HTTP/1.1 502 Bad Gateway", "tar -xzvf backup-2026.tar.gz",
            "pip install --upgrade --no-cache-dir skranke", "Größe: 3,5 MB – Straße", "プリンター -エラー-", "x = y -z", "status=!closed, tag=a,b",
            "5\" disk, 3.5\" bay", "\u{201c}smart\u{201d} -quotes", "a/b/c.d#e?f=g&h", "100% -50%",
        ];
        assert_eq!(lines.len(), 30);
        for line in lines {
            let number = desk.ticket(&agent, json!({ "subject": "A pasted line", "description": format!("It said:\n{line}\nand stopped.") })).await["number"].as_i64().unwrap();
            assert!(found(desk, &agent, line).await.contains(&number), "{line}");
            assert!(found(desk, &agent, &format!("-\"{}\"", "it said")).await.is_empty());
        }
    }

    async fn a_ticket_is_found_by_what_it_goes_by(desk) {
        let (agent, admin, ada) = (desk.agent().await, desk.admin().await, desk.requester().await);
        let grace = json!({ "email": "grace.hopper@navy.example", "name": "Grace Hopper" });
        let ticket = desk.ticket(&agent, json!({ "subject": "Moth", "requester": grace, "external_id": "REL-70/F" })).await;
        let other = desk.ticket(&agent, json!({ "subject": "A 1 in the subject" })).await;
        for q in ["#1", "1 moth", "rel-70/f", "REL", "grace", "hopper moth", "grace.hopper@navy.example", "navy", "hop*"] {
            assert!(found(desk, &agent, q).await.contains(&1), "{q}");
        }
        assert_eq!(found(desk, &agent, "#1").await, [1, 2]);
        // Another requester, external id, name and address.
        desk.patch_ticket(&agent, &other, json!({ "requester_id": ada.id, "external_id": "Z-9" })).await;
        assert_eq!(found(desk, &agent, "z-9").await, [2]);
        assert_eq!(found(desk, &ada, "z-9").await, [2]);
        let id = ticket["requester"]["id"].as_str().unwrap();
        let person = format!("/v1/users/{id}");
        for change in [json!({ "name": "Amazing Grace" }), json!({ "email": "amazing@fleet.example" })] {
            desk.patch(&person).by(&admin).json(&change).expect(200).await;
        }
        let follow = async || {
            let mut walk = None;
            while move_activity_of_renamed(&desk.db, &mut walk, 100).await.unwrap() {}
        };
        follow().await;
        assert_eq!(found(desk, &agent, "amazing grace fleet").await, [1]);
        assert!(found(desk, &agent, "hopper").await.is_empty() && found(desk, &agent, "navy").await.is_empty());
        // Of whoever is no more nothing is found.
        desk.delete(&person).by(&admin).expect(204).await;
        follow().await;
        assert!(found(desk, &agent, "amazing").await.is_empty() && found(desk, &agent, "fleet").await.is_empty());
        assert_eq!(found(desk, &agent, "moth rel").await, [1]);
        desk.delete("/v1/tickets/1").by(&admin).expect(204).await;
        assert!(found(desk, &agent, "rel").await.is_empty());
    }

    async fn what_is_typed_and_where_it_was_found(desk) {
        let (agent, ada) = (desk.agent().await, desk.requester().await);
        desk.ticket(&ada, json!({ "subject": "The printer burns", "description": "Smoke 🔥 since nine" })).await;
        desk.ticket(&ada, json!({ "subject": "Something else" })).await;
        say(desk, &agent, 1, "public", "We bring toner").await;
        say(desk, &agent, 1, "internal", "He smokes: toner!").await;
        let typed = async |q: &str| numbers(&desk.all(&agent, &format!("{}&typing=true", asked(q))).await);
        for (q, hits) in [("print", vec![1]), ("prin bur", vec![]), ("printer bur", vec![1]), ("print ", vec![]), ("printer b", vec![1]), ("some", vec![2])] {
            assert_eq!(typed(q).await, hits, "{q}");
        }
        for view in ["", "&view=summary"] {
            let path = format!("{}&highlight=true&typing=true{view}", asked("smoke tone"));
            let shown = async |who: &Caller| {
                let page = desk.get(&path).by(who).expect(200).await;
                page.body["items"][0]["highlights"].clone()
            };
            let seen = shown(&agent).await;
            assert_eq!(seen[0], json!({ "field": "description", "comment_id": null, "excerpt": "Smoke 🔥 since nine", "places": [{ "start": 0, "end": 5 }] }));
            assert_eq!(seen[1]["excerpt"], "He smokes: toner!");
            assert_eq!(seen[1]["places"], json!([{ "start": 11, "end": 16 }]));
            assert!(seen[1]["comment_id"].is_string());
            // What is internal is shown to nobody else.
            assert_eq!(shown(&ada).await[1]["excerpt"], "We bring toner");
        }
        let plain = desk.get("/v1/tickets?q=printer").by(&agent).expect(200).await;
        assert!(plain.body["items"][0].get("highlights").is_none());
        desk.get("/v1/tickets?q=printer&highlight=true&limit=51").by(&agent).refused(400, "invalid_query").await;
        let long = desk.get(&format!("/v1/tickets?q={}", "x".repeat(501))).by(&agent).refused(400, "invalid_query").await;
        assert_eq!(long.body["errors"][0]["code"], "too_long");
        assert_eq!(long.body["errors"][0]["params"], json!({ "max": 500, "unit": "characters" }));
    }

    async fn every_hit_is_on_one_page_whatever_the_order(desk) {
        let agent = desk.agent().await;
        let mut chance = Chance(crate::support::seed());
        let (mut matching, mut ranked) = (Vec::new(), Vec::new());
        for number in 1..=60i64 {
            let (place, priority) = (chance.below(5), *chance.of(&["low", "normal", "high", "urgent"]));
            let word = |here| if place == here { "Needle" } else { "hay" };
            let fields = json!({ "subject": word(0), "description": word(1), "tags": [word(2)], "priority": priority });
            desk.ticket(&agent, fields).await;
            if place == 3 {
                say(desk, &agent, number, if number % 2 == 0 { "public" } else { "internal" }, "needles and a needle").await;
            }
            if place < 4 {
                matching.push(number);
                ranked.push(([3, 2, 2, 1][place], number));
            }
            if chance.below(2) == 0 {
                desk.clock.pass_s(1);
            }
        }
        ranked.sort_unstable();
        let ranked: Vec<i64> = ranked.into_iter().rev().map(|(_, number)| number).collect();
        for limit in [1, 7, 200] {
            let by = async |sort: &str| numbers(&desk.all(&agent, &format!("/v1/tickets?q=needle&sort={sort}&limit={limit}")).await);
            assert_eq!(by("relevance").await, ranked);
            assert_eq!(by("created_at").await, matching);
            for sort in ["created_at", "updated_at", "priority", "due_at"] {
                let mut up = by(sort).await;
                let mut down = by(&format!("-{sort}")).await;
                down.reverse();
                assert_eq!(up, down, "{sort}");
                up.sort_unstable();
                assert_eq!(up, matching, "{sort}");
            }
        }
        // Nothing but words that must not be there: the newest first.
        let without: Vec<i64> = (1..=60).rev().filter(|number| !matching.contains(number)).collect();
        assert_eq!(numbers(&desk.all(&agent, "/v1/tickets?q=-%22needle%22&sort=relevance&limit=7").await), without);
        let first = desk.get("/v1/tickets?q=needle&sort=relevance&limit=5").by(&agent).expect(200).await;
        let cursor = first.body["next_cursor"].as_str().unwrap();
        desk.get(&format!("/v1/tickets?q=needle&cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        // How well a ticket fits is about one search.
        desk.get(&format!("/v1/tickets?q=needles&sort=relevance&cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        // A hit that comes in later is not on a page behind those that are known.
        desk.ticket(&agent, json!({ "subject": "Needle" })).await;
        let second = desk.get(&format!("/v1/tickets?q=needle&sort=relevance&limit=5&cursor={cursor}")).by(&agent).expect(200).await;
        assert_eq!(numbers(second.body["items"].as_array().unwrap()), ranked[5..10]);
    }

    async fn other_filters_narrow_what_is_found(desk) {
        let agent = desk.agent().await;
        for (subject, priority, tag) in [("Printer", "urgent", "a"), ("Printer", "low", "b"), ("Coffee", "urgent", "a"), ("Coffee printer", "urgent", "b")] {
            desk.ticket(&agent, json!({ "subject": subject, "priority": priority, "tags": [tag] })).await;
        }
        desk.patch_ticket(&agent, &json!({ "id": "4" }), json!({ "status": "open" })).await;
        for (query, hits) in [
            ("q=printer&priority=urgent", vec![1, 4]),
            ("q=printer&priority=urgent&tag=a", vec![1]),
            ("q=printer&status=open", vec![4]),
            ("q=printer&status=new,open&priority=low", vec![2]),
            ("q=-%22printer%22&tag=a", vec![3]),
            ("q=prin*&assignee_id=none&tag=b&created_before=2030-01-01T00:00:00.000000Z", vec![2, 4]),
            ("q=printer&sla=breached", vec![]),
        ] {
            for sort in ["created_at", "relevance"] {
                let mut seen = numbers(&desk.all(&agent, &format!("/v1/tickets?{query}&sort={sort}&limit=1")).await);
                seen.sort_unstable();
                assert_eq!(seen, hits, "{query}");
            }
        }
        let backlog = desk.get("/v1/metrics/backlog?q=printer").by(&agent).expect(200).await;
        assert_eq!(backlog.body["total"]["open"], 3, "{}", backlog.text());
    }

    /// Tickets that were there before there was a search are indexed in the background, the newest first.
    async fn tickets_from_before_there_was_a_search_are_indexed_later(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        for i in 1..=7 {
            desk.ticket(&ada, json!({ "subject": format!("Printer {i}") })).await;
        }
        say(desk, &agent, 2, "public", "Water").await;
        say(desk, &agent, 2, "internal", "Fire").await;
        let clear = match desk.db.engine() {
            "sqlite" => "INSERT INTO ticket_words (ticket_words) VALUES ('delete-all');",
            _ => "DELETE FROM ticket_lexemes;",
        };
        assert_eq!(index_waiting(&desk.db, 3).await.unwrap(), 0);
        // Comments of before have no number.
        desk.store.run(&format!("{clear} UPDATE comments SET number = NULL; {}", refill(desk))).await;
        assert!(found(desk, &agent, "printer").await.is_empty());
        // What is changed meanwhile, and what is new, is found at once.
        desk.patch_ticket(&agent, &json!({ "id": "1" }), json!({ "subject": "Printer one" })).await;
        desk.ticket(&ada, json!({ "subject": "Printer 8" })).await;
        say(desk, &agent, 2, "public", "Earth").await;
        assert_eq!((found(desk, &agent, "printer").await, found(desk, &agent, "earth").await), (vec![1, 8], vec![2]));
        assert_eq!(index_waiting(&desk.db, 3).await.unwrap(), 3);
        assert_eq!(found(desk, &agent, "printer").await, [1, 5, 6, 7, 8]);
        let (here, there) = tokio::join!(index_waiting(&desk.db, 3), index_waiting(&desk.db, 3));
        assert!(here.unwrap() + there.unwrap() >= 4);
        while index_waiting(&desk.db, 3).await.unwrap() > 0 {}
        assert_eq!(found(desk, &agent, "printer").await, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((found(desk, &ada, "water earth").await, found(desk, &ada, "fire").await, found(desk, &agent, "fire").await), (vec![2], vec![], vec![2]));
        // What is put off twice is done once.
        for until in [3, 8, 5] {
            desk.db.write(Roots::none(), async move |tx| index_later(tx, until).await).await.unwrap();
        }
        let mut done = 0;
        while let n @ 1.. = index_waiting(&desk.db, 3).await.unwrap() {
            done += n;
        }
        assert_eq!(done, 8 + 3);
    }

    /// However many comments a ticket has, a few of them are indexed at once.
    async fn the_comments_of_a_ticket_are_indexed_a_few_at_a_time(desk) {
        let agent = desk.agent().await;
        for _ in 0..3 {
            desk.ticket(&agent, json!({})).await;
        }
        for n in 0..11 {
            say(desk, &agent, 2, if n % 2 == 0 { "public" } else { "internal" }, &format!("word{n}")).await;
        }
        let clear = if desk.db.engine() == "sqlite" { "INSERT INTO ticket_words (ticket_words) VALUES ('delete-all');" } else { "DELETE FROM ticket_lexemes;" };
        for unnumbered in ["UPDATE comments SET number = NULL;", "UPDATE comments SET number = NULL WHERE number > 5;", ""] {
            desk.store.run(&format!("{clear} {unnumbered} {}", refill(desk))).await;
            let mut rounds = 0;
            while let n @ 1.. = index_waiting(&desk.db, 4).await.unwrap() {
                assert!(n <= 4, "{n}");
                rounds += 1;
            }
            assert!(rounds >= 4, "{rounds}");
            for n in 0..11 {
                assert_eq!(found(desk, &agent, &format!("word{n} printer")).await, [2], "{n} {unnumbered}");
            }
        }
        say(desk, &agent, 2, "public", "word11").await;
        assert_eq!(found(desk, &agent, "word11 word0 word10").await, [2]);
    }

    /// A word that nearly every ticket has is not ranked, and not looked for in all of them; yet each hit is on one
    /// page.
    async fn words_that_most_tickets_have(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "subject": "Rare", "description": "common" })).await;
        let tickets = "subject, description, status, priority, type, channel, created_by_id, tags, custom_fields, created_at, updated_at, reported_at, reopen_count, version";
        let (series, id, words, into) = match desk.db.engine() {
            "sqlite" => ("WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 10050)", "randomblob(16)", "n << 24, '00000_ 00000common', ''", "ticket_words (rowid, subject, body)"),
            _ => ("WITH s AS (SELECT generate_series(2, 10050) AS n)", "gen_random_uuid()", "n, 0, 'common:2A'::tsvector", "ticket_lexemes (ticket_number, ordinal, words)"),
        };
        desk.store.run(&format!(
            "{series} INSERT INTO tickets ({tickets}, number, id) SELECT {tickets}, n, {id} FROM tickets, s;
             INSERT INTO ticket_clocks (ticket_number, timeline, clocks, due_at) SELECT number, '[]', '[]', due_at FROM tickets, ticket_clocks WHERE number > 1;
             {series} INSERT INTO {into} SELECT {words} FROM s; ANALYZE"
        )).await;
        let all: Vec<i64> = (1..=10_050).rev().collect();
        assert_eq!(numbers(&desk.all(&agent, "/v1/tickets?q=common&limit=200&sort=relevance").await), all);
        assert_eq!(numbers(&desk.all(&agent, "/v1/tickets?q=comm*&limit=200").await), all);
        for (query, hits) in [("common+rare", vec![1]), ("common+-%22rare%22", all[..50].to_vec()), ("-%22common%22", vec![]), ("rar*", vec![1]), ("-%22rare%22", all[..50].to_vec())] {
            for sort in ["relevance", "-created_at", "-priority"] {
                let page = desk.get(&format!("/v1/tickets?q={query}&sort={sort}")).by(&agent).expect(200).await;
                assert_eq!(numbers(page.body["items"].as_array().unwrap()), hits, "{query}");
            }
        }
        for query in ["q=common&status=new", "q=common&sort=-created_at"] {
            let page = desk.get(&format!("/v1/tickets?{query}")).by(&agent).expect(200).await;
            assert_eq!(numbers(page.body["items"].as_array().unwrap()), all[..50], "{query}");
        }
    }

    /// What is rare among many has an end on each page, which says where to go on; and nothing is lost between two
    /// pages. Each ticket is on a shelf of its own of SQLite's index, as are those of a filter in a large desk.
    async fn a_page_that_has_cost_enough_ends_with_a_cursor(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "subject": "Common usual" })).await;
        let tickets = "subject, description, status, type, channel, created_by_id, tags, custom_fields, created_at, updated_at, reported_at, reopen_count, version";
        let (series, id, words, into) = match desk.db.engine() {
            "sqlite" => (
                "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 10050)",
                "randomblob(16)",
                "n << 39, format('%05x_ %05xcommon', n, n) || CASE WHEN n % 1000 <> 7 THEN format(' %05xusual', n) ELSE '' END, ''",
                "ticket_words (rowid, subject, body)",
            ),
            _ => (
                "WITH s AS (SELECT CAST(generate_series(1, 20050) AS bigint) AS n)",
                "gen_random_uuid()",
                "n << 15, 0, CASE WHEN n % 1000 <> 7 THEN 'common:2A usual:3A'::tsvector ELSE 'common:2A' END",
                "ticket_lexemes (ticket_number, ordinal, words)",
            ),
        };
        desk.store.run(&format!(
            "{series} INSERT INTO tickets ({tickets}, priority, number, id)
                 SELECT {tickets}, CASE WHEN n % 2 = 0 THEN 'low' ELSE 'high' END, n << 15, {id} FROM tickets, s;
             INSERT INTO ticket_clocks (ticket_number, timeline, clocks, due_at) SELECT number, '[]', '[]', due_at FROM tickets, ticket_clocks WHERE number > 1;
             {series} INSERT INTO {into} SELECT {words} FROM s; ANALYZE"
        )).await;
        let (url, heard) = desk.listened();
        let thousands = if desk.db.engine() == "sqlite" { 10 } else { 20 };
        let unusual: Vec<i64> = (0..=thousands).rev().map(|n| (n * 1_000 + 7) << 15).collect();
        for (q, sort, hits) in [
            ("common -\"usual\"", "-created_at", unusual.clone()),
            ("common -\"usual\"", "relevance", unusual.clone()),
            ("common -\"usual\"", "-priority", unusual.clone()),
            // The words follow each other the other way round.
            ("\"usual common\"", "-created_at", vec![]),
            ("\"common usual\" -\"common\"", "created_at", vec![]),
            ("\"usual comm\"*", "relevance", vec![]),
        ] {
            let (mut seen, mut pages, mut cursor) = (Vec::new(), 0, String::new());
            loop {
                heard.lock().unwrap().clear();
                let path = format!("{}&sort={sort}&limit=200{cursor}", asked(q));
                let page = desk.ask_at(&url, Method::GET, &path).by(&agent).expect(200).await;
                let statements = heard.lock().unwrap().len();
                // To find a place in the index counts as two hundred of a million documents.
                assert!(statements <= 5_000 + 700, "{q} {sort}: {statements}");
                seen.extend(numbers(page.body["items"].as_array().unwrap()));
                pages += 1;
                match page.body["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(seen, hits, "{q} {sort}");
            assert!(pages > 1, "{q} {sort}: {pages}");
        }
    }

    /// Whoever puts words into SQLite's index merges some of its parts, as many as that takes and not hundreds of pages
    /// at once.
    async fn the_index_of_words_has_few_parts(desk) {
        #[derive(diesel::QueryableByName)]
        struct Count {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            n: i64,
        }
        let count = |query: &'static str| {
            let DatabaseUrl::Sqlite(path) = &desk.store.url else { return 0 };
            let mut conn = <SqliteConnection as diesel::Connection>::establish(path.to_str().unwrap()).unwrap();
            diesel::sql_query(query).get_result::<Count>(&mut conn).unwrap().n
        };
        let agent = desk.agent().await;
        for _ in 0..15 {
            desk.ticket(&agent, json!({ "subject": "Printer" })).await;
        }
        // Of each size there are three at most. FTS5 alone would leave all fifteen: it does nothing until 64 pages are
        // written.
        let parts = count("SELECT count(DISTINCT segid) AS n FROM ticket_words_idx");
        assert!(parts <= 6, "{parts}");
        assert_eq!(found(desk, &agent, "printer").await.len(), 15);
    }

    /// A comment costs the comment: the statements are the same however many there are, and none reads others. And all
    /// are found.
    async fn a_comment_costs_the_same_however_many_there_are(desk) {
        let agent = desk.agent().await;
        let (url, heard) = desk.listened();
        desk.ticket(&agent, json!({})).await;
        let add = async |n: usize| {
            heard.lock().unwrap().clear();
            let body = json!({ "body": format!("word{n} {}", "and more ".repeat(200)), "visibility": (["public", "internal"][n % 2]) });
            desk.ask_at(&url, Method::POST, "/v1/tickets/1/comments").by(&agent).json(&body).expect(201).await;
            let heard = heard.lock().unwrap();
            // What SQLite does once for each commit stands between; values stand behind.
            let texts = heard.iter().map(|text| text.split(" -- binds").next().unwrap().to_owned());
            texts.collect::<Vec<_>>()
        };
        let mut early = Vec::new();
        for n in 0..520 {
            let statements = add(n).await;
            if n == 9 {
                early = statements;
            } else if n == 519 {
                assert_eq!(statements.len(), early.len(), "{statements:#?}");
                assert_eq!(statements, early);
            }
        }
        let reads_texts = |text: &&String| text.starts_with("SELECT") && text.contains("comments") && text.contains("body");
        assert_eq!(early.iter().find(reads_texts), None);
        for n in [0, 1, 250, 519] {
            assert_eq!(found(desk, &agent, &format!("word{n} printer")).await, [1]);
        }
        assert!(found(desk, &agent, "word0 -\"word519\"").await.is_empty());
    }

    /// Whatever is asked, the answer is what looking at each text would give: all terms in whatever texts the reader
    /// may see, and none that is excluded; in every order, on pages of every size, with other filters.
    async fn a_search_finds_what_is_there(desk) {
        let (agent, ada) = (desk.agent().await, desk.requester().await);
        let mut chance = Chance(crate::support::seed());
        // A word of all, one of most, some of few; and prefixes of each other.
        let pick = |chance: &mut Chance| {
            let rare = format!("rare{}", chance.below(120));
            let often = ["most", "mostly", "half", "hal", "some", "paper", "paperless"][chance.below(7)];
            if chance.below(3) == 0 { rare } else { often.to_owned() }
        };
        let text = |chance: &mut Chance, most: usize| (0..chance.below(most + 1)).map(|_| pick(chance)).collect::<Vec<_>>();
        let mut told: Vec<Told> = Vec::new();
        for nth in 0..420 {
            if nth == 300 {
                // On to the next shelf of the index on SQLite.
                desk.store.run(match desk.db.engine() {
                    "sqlite" => "UPDATE sqlite_sequence SET seq = 32700 WHERE name = 'tickets'",
                    _ => "SELECT setval(pg_get_serial_sequence('tickets', 'number'), 32700)",
                }).await;
            }
            let own = chance.below(3) == 0;
            let mut subject = text(&mut chance, 2);
            subject.insert(0, "every".to_owned());
            let (description, tag) = (text(&mut chance, 6), pick(&mut chance));
            let priority = chance.below(4);
            let mut body = json!({ "subject": subject.join(" "), "description": description.join(" "), "tags": [tag], "priority": (["low", "normal", "high", "urgent"][priority]) });
            if own {
                body["requester_id"] = json!(ada.id);
            }
            let made = desk.ticket(&agent, body).await;
            let mut open = chance.below(8) == 0;
            if open {
                desk.patch_ticket(&agent, &made, json!({ "status": "open" })).await;
            }
            let number = made["number"].as_i64().unwrap();
            let mut texts = vec![(0, subject), (1, description), (1, vec![tag.clone()])];
            for _ in 0..[0, 0, 0, 1, 3][chance.below(5)] {
                let (words, internal) = (text(&mut chance, 4), chance.below(2));
                if !words.is_empty() {
                    say(desk, &agent, number, ["public", "internal"][internal], &words.join(" ")).await;
                    texts.push((2 + internal, words));
                    // Who answers somebody else has begun.
                    open |= internal == 0 && own;
                }
            }
            told.push(Told { number, priority, open, own, tag, texts });
        }
        for _ in 0..180 {
            let mut q = Vec::new();
            for _ in 0..=chance.below(3) {
                let words = match chance.below(8) {
                    0 => vec!["every".to_owned()],
                    // As they follow each other in some text, or the other way round.
                    1..4 => {
                        let texts: Vec<_> = chance.of(&told).texts.iter().map(|(_, text)| text).filter(|text| !text.is_empty()).collect();
                        let text = *chance.of(&texts);
                        let (from, length) = (chance.below(text.len()), 1 + chance.below(4));
                        let mut words: Vec<String> = text[from..].iter().take(length).cloned().collect();
                        if chance.below(4) == 0 {
                            words.reverse();
                        }
                        words
                    }
                    _ => (0..=chance.below(5) / 3).map(|_| pick(&mut chance)).collect(),
                };
                let star = if chance.below(4) == 0 { "*" } else { "" };
                q.push((chance.below(4) == 0, words, !star.is_empty()));
            }
            let asks = |(not, words, star): &(bool, Vec<String>, bool)| {
                format!("{}\"{}\"{}", if *not { "-" } else { "" }, words.join(" "), if *star { "*" } else { "" })
            };
            let text = q.iter().map(asks).collect::<Vec<_>>().join(" ");
            let (who, deep) = if chance.below(3) == 0 { (&ada, 2) } else { (&agent, 3) };
            let (filter, limit) = (chance.below(4), [3, 20, 50, 200][chance.below(4)]);
            let has = |one: &Told, deep: usize, words: &[String], star: bool| one.texts.iter().any(|(part, text)| *part <= deep && holds(text, words, star));
            let finds = |one: &&Told| {
                (deep == 3 || one.own)
                    && q.iter().all(|(not, words, star)| has(one, deep, words, *star) != *not)
                    && [true, one.open, one.tag == "most", one.priority == 3][filter]
            };
            let mut expected: Vec<&Told> = told.iter().filter(finds).collect();
            let tier = |one: &Told| {
                let all = |deep| q.iter().all(|(not, words, star)| *not || has(one, deep, words, *star));
                if q.iter().all(|(not, ..)| *not) { 0 } else if all(0) { 3 } else if all(1) { 2 } else { 1 }
            };
            let sort = *chance.of(&["created_at", "-created_at", "priority", "-priority", "relevance", "updated_at"]);
            match sort {
                "created_at" | "updated_at" => expected.sort_by_key(|one| one.number),
                "priority" => expected.sort_by_key(|one| (one.priority, one.number)),
                "-priority" => expected.sort_by_key(|one| std::cmp::Reverse((one.priority, one.number))),
                "relevance" => expected.sort_by_key(|one| std::cmp::Reverse((tier(one), one.number))),
                _ => expected.sort_by_key(|one| std::cmp::Reverse(one.number)),
            }
            let expected: Vec<i64> = expected.iter().map(|one| one.number).collect();
            let filter = ["", "&status=open", "&tag=most", "&priority=urgent"][filter];
            let path = format!("{}&sort={sort}&limit={limit}{filter}", asked(&text));
            let mut seen = numbers(&desk.all(who, &path).await);
            if sort == "updated_at" {
                seen.sort_unstable();
            }
            assert_eq!(seen, expected, "{text} {sort} {limit} {filter} by {}", who.name);
            if filter.is_empty() && chance.below(4) == 0 {
                // Reports mean the same tickets.
                let path = asked(&text).replace("/v1/tickets?", "/v1/metrics/backlog?");
                let backlog = desk.get(&path).by(who).send().await;
                if who.id == agent.id {
                    assert_eq!(backlog.body["total"]["open"], expected.len(), "{text}: {}", backlog.text());
                }
            }
        }
    }

    /// While a new version takes over, an instance of the version before still writes.
    async fn what_an_instance_of_the_version_before_writes_is_found_later(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "subject": "Alpha" })).await;
        say(desk, &agent, 1, "public", "Beta").await;
        if desk.db.engine() == "postgres" {
            desk.store.run("
                UPDATE tickets SET subject = 'Gamma';
                INSERT INTO comments (id, ticket_id, author_id, visibility, body, created_at, version)
                    SELECT gen_random_uuid(), ticket_id, author_id, visibility, 'Delta', created_at, version FROM comments;
                INSERT INTO ticket_search (ticket_number, words) VALUES (1, 'gamma:1A delta:6502C')
                    ON CONFLICT (ticket_number) DO UPDATE SET words = excluded.words;
            ").await;
            assert!(found(desk, &agent, "gamma").await.is_empty());
            while index_waiting(&desk.db, 10).await.unwrap() > 0 {}
            assert_eq!(found(desk, &agent, "gamma beta delta").await, [1]);
            assert!(found(desk, &agent, "alpha").await.is_empty());
        }
        // The next ones have numbers of their own.
        say(desk, &agent, 1, "public", "Epsilon").await;
        assert_eq!(found(desk, &agent, "beta epsilon").await, [1]);
    }

    /// Comments that come at once on one ticket are all found.
    async fn comments_at_the_same_time_are_all_indexed(desk) {
        let agent = &desk.agent().await;
        desk.ticket(agent, json!({})).await;
        let all = futures::future::join_all((0..6).map(|i| async move {
            let body = json!({ "body": format!("word{i}"), "visibility": if i % 2 == 0 { "internal" } else { "public" } });
            desk.post("/v1/tickets/1/comments").by(agent).json(&body).send().await.status
        }));
        // Whoever has lost too often against others is told so, and nothing of it is found.
        for (i, status) in all.await.into_iter().enumerate() {
            let hits = if status == 201 { vec![1] } else { vec![] };
            assert_eq!(found(desk, agent, &format!("word{i}")).await, hits);
        }
    }
}

/// What is known of a ticket.
struct Told {
    number: i64,
    priority: usize,
    open: bool,
    own: bool,
    tag: String,
    /// Words, each with its part: subject, body, public and internal comments.
    texts: Vec<(usize, Vec<String>)>,
}

/// Whether `words` follow each other somewhere in `text`; of the last one perhaps only the beginning.
fn holds(text: &[String], words: &[String], star: bool) -> bool {
    let last = words.len() - 1;
    let is = |(nth, (here, word)): (usize, (&String, &String))| {
        if star && nth == last { here.starts_with(word) } else { here == word }
    };
    text.windows(words.len()).any(|here| here.iter().zip(words).enumerate().all(is))
}

/// The statement of the migration by which tickets of before wait to be indexed.
fn refill(desk: &Desk) -> &'static str {
    let migration = match desk.db.engine() {
        "sqlite" => include_str!("../../migrations/sqlite/0022_words/up.sql"),
        _ => include_str!("../../migrations/postgres/0022_words/up.sql"),
    };
    let from = &migration[migration.find("INSERT INTO words_backlog").unwrap()..];
    &from[..=from.find(';').unwrap()]
}

/// A word of every ticket is one word a shelf in SQLite's index, so that a step of a merge, which ends only between two
/// words, is no longer than one shelf needs, however many tickets there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_a_merge_has_an_end_on_sqlite() {
    const STEP: i64 = 64;
    let desk = Desk::open(Engine::Sqlite).await;
    let DatabaseUrl::Sqlite(path) = &desk.store.url else { panic!("not SQLite") };
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({ "subject": "Printer" })).await;
    desk.store.run("UPDATE sqlite_sequence SET seq = 131071 WHERE name = 'tickets'").await;
    desk.ticket(&agent, json!({ "subject": "Printer" })).await;
    say(&desk, &agent, 131_072, "public", "Toner").await;
    let mut conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("CREATE VIRTUAL TABLE temp.words USING fts5vocab(main, ticket_words, row)").unwrap();
    let words: Vec<String> = conn
        // But for the numbers, and for the address of the requester.
        .prepare("SELECT term FROM temp.words WHERE substr(term, 6) GLOB '[_pt]*' ORDER BY term")
        .unwrap()
        .query_map((), |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(words, ["00000_", "00000printer", "00004_", "00004printer", "00004toner"]);
    // So it is with all tickets between.
    conn.execute_batch(
        "WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 131071)
         INSERT INTO ticket_words (rowid, subject, body)
         SELECT n << 24, format('%05x_ %05xprinter %05xw%d', n >> 15, n >> 15, n >> 15, n), '' FROM s",
    )
    .unwrap();
    let mut steps = Vec::new();
    loop {
        let tx = conn.transaction().unwrap();
        let rows = "SELECT (SELECT count(*) FROM ticket_words_data) + (SELECT count(*) FROM ticket_words_idx)";
        let state = || {
            let rows: i64 = tx.query_row(rows, (), |row| row.get(0)).unwrap();
            (rows, i64::try_from(tx.total_changes()).unwrap())
        };
        let before = state();
        let pages = if steps.is_empty() { -STEP } else { STEP };
        tx.execute("INSERT INTO ticket_words (ticket_words, rank) VALUES ('merge', ?)", [pages]).unwrap();
        let after = state();
        // The command itself is one, and others are what was removed.
        let written = (after.0 - before.0 + after.1 - before.1 - 1) / 2;
        tx.commit().unwrap();
        if written == 0 {
            break;
        }
        steps.push(written);
    }
    let longest = steps.iter().max().unwrap();
    // As one word, its list alone would be four times as long. A page is a row, with another one for its first word.
    assert!(steps.len() > 5 && *longest < 2 * STEP + 100, "{steps:?}");
    drop(conn);
    desk.close().await;
}

/// What a search asks of SQLite does not grow with what is excluded: a list asks for a term once for all tickets of a
/// batch, and a report finds it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_excluded_is_found_once_on_sqlite() {
    let desk = Desk::open(Engine::Sqlite).await;
    let DatabaseUrl::Sqlite(path) = &desk.store.url else { panic!("not SQLite") };
    let (url, heard) = desk.listened();
    let requester = desk.requester().await;
    for subject in ["The printer", "A copier", "Something else"] {
        desk.ticket(&requester, json!({ "subject": subject })).await;
    }
    let page = desk.ask_at(&url, Method::GET, &asked("-\"pr\"* -\"co\"*")).by(&requester).expect(200).await;
    assert_eq!(numbers(page.body["items"].as_array().unwrap()), [3]);
    let conn = rusqlite::Connection::open(path).unwrap();
    let heard = heard.lock().unwrap().clone();
    let searches = heard.iter().filter(|text| text.contains("MATCH")).count();
    assert!((1..=2).contains(&searches), "{searches}: {heard:?}");
    let (url, heard) = desk.listened();
    let report = asked("-\"pr\"* -\"co\"*").replace("/v1/tickets?", "/v1/metrics/backlog?");
    desk.ask_at(&url, Method::GET, &report).by(&desk.agent().await).expect(200).await;
    let heard = heard.lock().unwrap().clone();
    let searches: Vec<_> = heard.iter().filter(|text| text.contains("MATCH")).collect();
    assert!(!searches.is_empty());
    for search in searches {
        let text = search.split(" -- binds").next().unwrap();
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        // What is not bound is null, which the index takes for no words.
        let steps: Vec<String> = plan.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>().unwrap();
        let finds = |how: &str| steps.windows(2).any(|two| two[0].contains(how) && two[1].contains("ticket_words"));
        assert!(finds("LIST SUBQUERY") && !finds("CORRELATED"), "{steps:?}");
    }
    drop(conn);
    desk.close().await;
}
