// Pages and API are one origin, so that a browser asks for no leave beforehand (no CORS, no preflights).
import { defineConfig, loadEnv } from "vite";

export default defineConfig(({ mode }) => {
  const { SKRANKE_URL = "http://127.0.0.1:8080", VITE_ISSUER = "" } = loadEnv(mode, ".", ["SKRANKE_URL", "VITE_"]);
  const proxy = { "/v1": SKRANKE_URL, "/file-links": SKRANKE_URL };
  // Should a text slip through as HTML, it can do nothing. Say the same where the pages are served for good.
  const asked = `connect-src 'self' ${VITE_ISSUER && new URL(VITE_ISSUER).origin}`;
  const policy = `default-src 'self'; img-src 'self' blob:; ${asked}; frame-ancestors 'none'; base-uri 'none'`;
  const headers = { "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer" };
  return { server: { proxy }, preview: { proxy, headers } };
});
