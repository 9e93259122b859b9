// Filters the list of assets as one types.
const field = document.getElementById("filter");
const rows = [...document.querySelectorAll("#assets tbody tr")];
field?.addEventListener("input", () => {
  const wanted = field.value.trim().toLowerCase();
  let shown = 0;
  for (const row of rows) {
    row.hidden = !row.dataset.name.includes(wanted);
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("nothing").hidden = shown > 0;
});
