// Shows each picture in the scheme that the reader chose on the page, not only in that of the system.
const followScheme = () => {
  const isDark = document.body.dataset.mdColorScheme === "slate";
  for (const source of document.querySelectorAll("picture source")) source.media = isDark ? "all" : "not all";
};
followScheme();
new MutationObserver(followScheme).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
