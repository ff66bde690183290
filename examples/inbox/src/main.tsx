// One page for agents and customers: what is shown follows from the role of who has logged in.
import { signal, useSignal } from "@preact/signals";
import { render } from "preact";

import { api, failureOf, good, type Failure, type Me } from "./api";
import { ListScreen, NewTicket } from "./list";
import { follow, isLive } from "./live";
import { begin, hasProvider, logIn, logInWith, logOut, session } from "./login";
import "./style.css";
import { TicketScreen } from "./ticket";
import { Trouble } from "./words";

const me = signal<Me | undefined>(undefined);
const failure = signal<Failure | undefined>(undefined);
const place = signal(location.hash);
window.addEventListener("hashchange", () => (place.value = location.hash));

const attempt = (work: Promise<void>) => work.catch((error: unknown) => void (failure.value = failureOf(error)));

function Login() {
  const pasted = useSignal("");
  return (
    <div class="login">
      {session.value === "ended" && <p>Your login has ended. What you have written is kept.</p>}
      {hasProvider && <button class="primary" onClick={() => void attempt(logIn())}>Log in</button>}
      <input type="password" aria-label="Token" placeholder="or what `skranke token` prints" value={pasted}
        onInput={({ currentTarget: { value } }) => (pasted.value = value)} />
      <button disabled={!pasted.value.trim()} onClick={() => logInWith(pasted.value)}>Use it</button>
    </div>
  );
}

function Screen({ me }: { me: Me }) {
  const [, first = "", second] = place.value.split("/");
  // Another ticket and another list are other screens, which begin anew.
  if (first === "tickets" && second) return <TicketScreen key={second} id={second} me={me} />;
  if (first === "new") return <NewTicket me={me} />;
  return <ListScreen key={first} chosen={first} me={me} />;
}

function App() {
  const who = me.value;
  return (
    <>
      <header>
        <a href="#/">{who?.role === "requester" ? "Your tickets" : "Inbox"}</a>
        {who && <span data-live={isLive.value} title="Green: what others do is shown as they do it.">{who.name}</span>}
        {session.value !== "out" && <button onClick={() => void logOut()}>Log out</button>}
      </header>
      <main>
        {session.value !== "in" && <Login />}
        <Trouble failure={failure.value} />
        {who && <Screen me={who} />}
      </main>
    </>
  );
}

async function start() {
  await begin();
  place.value = location.hash;
  if (session.value !== "in") return;
  me.value = good(await api.GET("/v1/me"));
  void follow();
}
void attempt(start()).then(() => render(<App />, document.getElementById("app")!));
