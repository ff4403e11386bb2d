// Which theme is used: the system's, or the one that the user selected?
//
// It runs before the page is drawn, to avoid a flash of the wrong theme.

const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');

/** The stored selection; null if storage is disabled. */
function storedTheme() {
  try {
    return localStorage.getItem('theme');
  } catch {
    return null;
  }
}

function choose(theme) {
  root.dataset.theme = theme;
  try {
    localStorage.setItem('theme', theme);
  } catch {
    // Storage is disabled: the selection applies to this page only.
  }
}

function isDark() {
  return (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
}

const theme = storedTheme();
if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;

addEventListener('DOMContentLoaded', () => {
  const switches = document.querySelectorAll('.theme');
  const show = () => switches.forEach((it) => it.setAttribute('aria-pressed', isDark()));
  for (const it of switches) {
    it.addEventListener('click', () => {
      choose(isDark() ? 'light' : 'dark');
      show();
    });
  }
  system.addEventListener('change', show);
  show();
});
