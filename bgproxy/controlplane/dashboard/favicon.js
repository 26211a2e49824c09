// The tab's icon: the shape and color that is live, where one answer fits all services.

const link = document.querySelector("link[rel=icon]");

export function showFavicon(services) {
  const active = new Set(services.map((service) => service.active));
  const href = active.size === 1 ? `/dashboard/${[...active][0]}.svg` : "/favicon.ico";
  if (link.getAttribute("href") !== href) link.setAttribute("href", href);
}
