// Which theme does one see? What the system says, until one says otherwise.
//
// It runs before the page is drawn, so that it is never drawn in the wrong theme.

const root = document.documentElement;
const system = matchMedia('(prefers-color-scheme: dark)');

/** A browser may keep nothing for us. */
function kept() {
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
    // It holds for this page.
  }
}

function isDark() {
  return (root.dataset.theme ?? (system.matches ? 'dark' : 'light')) === 'dark';
}

const theme = kept();
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
