// Sets the theme before the first paint; a script of its own because the policy allows none in the markup.
(() => {
  const root = document.documentElement;
  const kept = (name, otherwise) => { try { return localStorage.getItem(name) || otherwise; } catch { return otherwise; } };
  root.dataset.theme = kept("scalpdesk-theme", "auto");
  if (kept("scalpdesk-swap", "") === "yes") root.dataset.swap = "yes";
})();
