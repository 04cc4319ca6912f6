// Replaces the page's main part while something runs. Without this script the page reloads itself.
const EVERY = 1500;

async function refresh() {
  const live = document.getElementById("live");
  if (!("running" in live.dataset)) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = [...live.querySelectorAll("details")].map((one) => one.open);
      const next = page.getElementById("live");
      [...next.querySelectorAll("details")].forEach((one, number) => { one.open = open[number] ?? false; });
      live.replaceWith(next);
    }
  } catch {
    // The service restarts, or the network is away: try again.
  }
  setTimeout(refresh, EVERY);
}

setTimeout(refresh, EVERY);
