//! What the service does by itself.

use serde_json::json;
use skranke::app::janitor::{Round, round};

use crate::on_both;

on_both! {
    async fn what_has_expired_is_forgotten_and_not_before(desk) {
        const DAY_S: i64 = 24 * 3600;
        let tidy = || round(&desk.db, 7 * DAY_S, &desk.ids);
        let nothing = Round { closed: 0, answers: 0, logins: 0 };
        let admin = desk.admin().await;
        let person = json!({ "name": "Ada", "email": "ada@example.org", "role": "requester", "password": "correct horse battery" });
        desk.post("/v1/users").by(&admin).header("idempotency-key", "u").json(&person).expect(201).await;
        let form = "grant_type=password&username=ada@example.org&password=correct+horse+battery";
        let login = || desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form).expect(200);
        login().await;
        let ticket = desk.ticket(&admin, json!({})).await;
        desk.patch_ticket(&admin, &ticket, json!({ "status": "resolved" })).await;
        assert_eq!(tidy().await.unwrap(), nothing);

        // A login of this desk lasts for an hour, an answer for a day, a resolved ticket for a week.
        desk.clock.pass_s(3599);
        assert_eq!(tidy().await.unwrap(), nothing);
        desk.clock.pass_s(1);
        assert_eq!(tidy().await.unwrap(), Round { logins: 1, ..nothing });
        desk.clock.pass_s(DAY_S - 3600 - 1);
        assert_eq!(tidy().await.unwrap(), nothing);
        desk.clock.pass_s(1);
        assert_eq!(tidy().await.unwrap(), Round { answers: 1, ..nothing });
        desk.clock.pass_s(6 * DAY_S - 1);
        assert_eq!(tidy().await.unwrap(), nothing);
        desk.clock.pass_s(1);
        assert_eq!(tidy().await.unwrap(), Round { closed: 1, ..nothing });
        assert_eq!(tidy().await.unwrap(), nothing);
        assert_eq!(desk.read_ticket(&admin, &ticket).await["status"], "closed");
    }
}
